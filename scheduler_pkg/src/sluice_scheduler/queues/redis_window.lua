-- What decides which of a lane's waiting jobs run together. ARGV: lane, lowest priority, how many.
-- Gives of each its name, model, batch, rows and attempts.
local found = {}
for _, name in ipairs(ranked(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))) do
  local job = redis.call('HMGET', task(id_of(name)), 'model', 'batch', 'rows', 'attempts')
  found[#found + 1] = { name, job[1], job[2], job[3], job[4] }
end
return told(found)
