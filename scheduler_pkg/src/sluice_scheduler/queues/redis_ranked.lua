-- The waiting jobs of a lane over all its priorities up to `lowest`, merged by rank.
local CHUNK = 8 -- names read of a priority at once, where as many are wanted

local function before(one, other, backwards)
  if one.score == other.score then
    if backwards then
      return one.name > other.name
    end
    return one.name < other.name
  elseif backwards then
    return one.score > other.score
  end
  return one.score < other.score
end

local function head(list)
  if list.at > #list.found then
    if list.over then
      return nil
    end
    list.found = redis.call(list.range, list.key, list.from, list.from + list.chunk - 1, 'WITHSCORES')
    list.over = #list.found < 2 * list.chunk
    list.from, list.at = list.from + list.chunk, 1
    if #list.found == 0 then
      return nil
    end
  end
  return { name = list.found[list.at], score = tonumber(list.found[list.at + 1]) }
end

-- Their names, at most so many.
local function ranked(lane, lowest, most, backwards)
  local lists, names = {}, {}
  for priority = 1, lowest do
    local list = { key = waiting(lane, priority), range = backwards and 'ZREVRANGE' or 'ZRANGE' }
    list.from, list.at, list.found, list.over, list.chunk = 0, 1, {}, false, math.min(CHUNK, most)
    list.head = head(list)
    if list.head then
      lists[#lists + 1] = list
    end
  end
  while #names < most do
    local next
    for _, list in ipairs(lists) do
      if list.head and (not next or before(list.head, next.head, backwards)) then
        next = list
      end
    end
    if not next then
      break
    end
    names[#names + 1] = next.head.name
    next.at = next.at + 2
    next.head = #names < most and head(next)
  end
  return names
end
