-- What every script that writes goes through: only the scheduler that holds the queue does.
-- ARGV: the holder, and for how many milliseconds it holds what nobody holds any more.
local holder = redis.call('GET', prefix .. 'lock')
if holder and holder ~= ARGV[1] then
  return redis.error_reply('TAKEN')
elseif not holder then
  redis.call('SET', prefix .. 'lock', ARGV[1], 'PX', ARGV[2])
end
