-- What every script of the queue begins with: its keys, and the two indexes that a job stands in.
-- A job's own fields are the hash "task:ID", what is large or of any bytes the hash "data:ID".
-- Every job stands in "state:STATE", by the order of putting, and in one of these by what its state is about:
--   "waiting:PRIORITY:LANE" by rank, "leased" by the end of its lease, "ended" by its end.
-- There its name begins with its number, so that equals stay in the order they were put.
local prefix = KEYS[1]
local NUMBER = 16 -- digits

local function task(id)
  return prefix .. 'task:' .. id
end

local function data(id)
  return prefix .. 'data:' .. id
end

local function waiting(lane, priority)
  return prefix .. 'waiting:' .. priority .. ':' .. lane
end

local function named(seq, id)
  return string.format('%016d', seq) .. id
end

local function id_of(name)
  return string.sub(name, NUMBER + 1)
end

local function places(id)
  local job = redis.call('HMGET', task(id), 'seq', 'lane', 'state', 'priority', 'rank', 'lease_until', 'finished_at')
  local seq, lane, state = job[1], job[2], job[3]
  local key, score = prefix .. 'ended', job[7]
  if state == 'queued' then
    key, score = waiting(lane, job[4]), job[5]
  elseif state == 'running' then
    key, score = prefix .. 'leased', job[6]
  end
  return { seq = seq, lane = lane, state = state, key = key, score = score, name = named(seq, id) }
end

local function enter(id)
  local place = places(id)
  redis.call('ZADD', place.key, place.score, place.name)
  redis.call('ZADD', prefix .. 'state:' .. place.state, place.seq, id)
  redis.call('HINCRBY', prefix .. 'counts', place.state .. ':' .. place.lane, 1)
end

local function leave(id)
  local place = places(id)
  redis.call('ZREM', place.key, place.name)
  redis.call('ZREM', prefix .. 'state:' .. place.state, id)
  redis.call('HINCRBY', prefix .. 'counts', place.state .. ':' .. place.lane, -1)
end

-- Tensors are kept as they are, or as the digest of a blob, of which it is counted how many jobs name it.
local function counted(name, value, by)
  if value and (name == 'inputs_blob' or name == 'outputs_blob') then
    if redis.call('HINCRBY', prefix .. 'blobs', value, by) <= 0 then
      redis.call('HDEL', prefix .. 'blobs', value)
      return value
    end
  end
end

-- A job without its tensors: names and values in turn; nothing where there is none.
local function shown(id)
  local job = redis.call('HGETALL', task(id))
  if #job > 0 then
    local more = redis.call('HMGET', data(id), 'provenance', 'error')
    for at, name in ipairs({ 'provenance', 'error' }) do
      if more[at] then
        job[#job + 1] = name
        job[#job + 1] = more[at]
      end
    end
  end
  return job
end

-- One reply in one text: a reply of many parts is slow to read.
local function told(list)
  return #list == 0 and '[]' or cjson.encode(list)
end
