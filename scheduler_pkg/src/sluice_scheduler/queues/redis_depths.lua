-- How many wait of each priority. ARGV: lowest priority, lanes. Gives of each lane and priority their number.
local amounts = {}
for at = 2, #ARGV do
  for priority = 1, tonumber(ARGV[1]) do
    amounts[#amounts + 1] = { ARGV[at], priority, redis.call('ZCARD', waiting(ARGV[at], priority)) }
  end
end
return told(amounts)
