-- The ids of leased jobs in the order they were put. ARGV: whose lease ended before, as a bound of ZRANGEBYSCORE.
local names = redis.call('ZRANGEBYSCORE', prefix .. 'leased', '-inf', ARGV[1])
table.sort(names)
local ids = {}
for at, name in ipairs(names) do
  ids[at] = id_of(name)
end
return told(ids)
