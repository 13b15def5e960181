-- The jobs put last, the latest first. ARGV: the number of the job they were put before, how many are wanted, at how
-- many is looked, their states each after "state", and then names and values they have; "since" and "until" bound
-- when they were enqueued. Gives the number at which to go on, 0 at the end, and the jobs.
local before, wanted, look = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local seen, at = {}, 4
local over = true
while ARGV[at] == 'state' do
  local key = prefix .. 'state:' .. ARGV[at + 1]
  local found = redis.call('ZREVRANGEBYSCORE', key, '(' .. before, '-inf', 'WITHSCORES', 'LIMIT', 0, look)
  over = over and #found < 2 * look
  for pair = 1, #found, 2 do
    seen[#seen + 1] = { id = found[pair], seq = tonumber(found[pair + 1]) }
  end
  at = at + 2
end
table.sort(seen, function(one, other) return one.seq > other.seq end)

local function fits(id)
  for pair = at, #ARGV, 2 do
    local name, value = ARGV[pair], ARGV[pair + 1]
    if name == 'since' or name == 'until' then
      local when = tonumber(redis.call('HGET', task(id), 'enqueued_at'))
      if (name == 'since') ~= (when >= tonumber(value)) then
        return false
      end
    elseif (redis.call('HGET', task(id), name) or '') ~= value then
      return false
    end
  end
  return true
end

local jobs, on = {}, 0
for place, one in ipairs(seen) do
  if fits(one.id) then
    jobs[#jobs + 1] = shown(one.id)
  end
  if #jobs == wanted or place == look then
    on = (place < #seen or not over) and one.seq or 0
    break
  end
end
return { string.format('%d', on), told(jobs) }
