-- Hold the queue no longer. ARGV: the holder.
if redis.call('GET', prefix .. 'lock') == ARGV[1] then
  redis.call('DEL', prefix .. 'lock')
end
return redis.status_reply('OK')
