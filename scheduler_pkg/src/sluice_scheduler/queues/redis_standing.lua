-- What a queued job has before it. ARGV: id, lowest priority, how many of each priority are looked at for their cost.
-- Gives nothing when no job has the id, an empty list when it is not queued, else of each priority how many are
-- ahead, at how many of them was looked, and what those cost.
local id, lowest, looked_at = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local job = redis.call('HMGET', task(id), 'seq', 'lane', 'state', 'rank')
if not job[1] then
  return nil
end
if job[3] ~= 'queued' then
  return '[]'
end
local name, lane, rank = named(job[1], id), job[2], job[4]

-- Those of equal rank stand in the order of their names: where would this one stand among them?
local function ahead(key)
  local low, high = redis.call('ZCOUNT', key, '-inf', '(' .. rank), redis.call('ZCOUNT', key, '-inf', rank)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', key, middle, middle)[1] < name then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local answer = {}
for priority = 1, lowest do
  local key = waiting(lane, priority)
  local amount, cost = ahead(key), 0
  local looked = math.min(amount, looked_at)
  if looked > 0 then
    for _, other in ipairs(redis.call('ZRANGE', key, 0, looked - 1)) do
      cost = cost + tonumber(redis.call('HGET', task(id_of(other)), 'cost') or 0)
    end
  end
  answer[priority] = { amount, looked, string.format('%.17g', cost) }
end
return told(answer)
