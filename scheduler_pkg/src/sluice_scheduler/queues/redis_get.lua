-- Look at jobs. ARGV: the names of data that is wanted too, and after "of" the ids.
-- Gives the jobs, an unknown one as an empty list, and then that data of each.
local wanted, at = {}, 1
while ARGV[at] ~= 'of' do
  wanted[at] = ARGV[at]
  at = at + 1
end
local jobs, answer = {}, { '' }
for place = at + 1, #ARGV do
  local id = ARGV[place]
  jobs[#jobs + 1] = shown(id)
  for _, name in ipairs(wanted) do
    answer[#answer + 1] = redis.call('HGET', data(id), name)
  end
end
answer[1] = told(jobs)
return answer
