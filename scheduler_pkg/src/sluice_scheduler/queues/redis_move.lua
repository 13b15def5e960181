-- Change jobs, all of them or none. ARGV after the holder's: of each its id and four lists, each led by its length:
-- the names and values it is expected to have, those it is given, the names that it and its data lose, the names
-- and values that its data is given; and a line for the record of its changes, or nothing.
-- Gives whether they were as expected, and the jobs as they are now.
local moves, at = {}, 3

local function list()
  local length, found = tonumber(ARGV[at]), {}
  for offset = 1, length do
    found[offset] = ARGV[at + offset]
  end
  at = at + length + 1
  return found
end

while ARGV[at] do
  local move = { id = ARGV[at] }
  at = at + 1
  move.expected, move.given, move.lost, move.data = list(), list(), list(), list()
  move.change = ARGV[at]
  at = at + 1
  moves[#moves + 1] = move
end

local fits, jobs = 1, {}
for _, move in ipairs(moves) do
  for pair = 1, #move.expected, 2 do
    if redis.call('HGET', task(move.id), move.expected[pair]) ~= move.expected[pair + 1] then
      fits = 0
    end
  end
end
for _, move in ipairs(moves) do
  local id = move.id
  if fits == 1 then
    leave(id)
    redis.call('HSET', task(id), unpack(move.given))
    if #move.lost > 0 then
      redis.call('HDEL', task(id), unpack(move.lost))
      redis.call('HDEL', data(id), unpack(move.lost))
    end
    if #move.data > 0 then
      redis.call('HSET', data(id), unpack(move.data))
      for pair = 1, #move.data, 2 do
        counted(move.data[pair], move.data[pair + 1], 1)
      end
    end
    enter(id)
    if move.change ~= '' then
      redis.call('RPUSH', prefix .. 'changes:' .. id, move.change)
    end
  end
  jobs[#jobs + 1] = shown(id)
end
return { fits, told(jobs) }
