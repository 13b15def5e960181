-- A lane's first waiting jobs, or its last ones. ARGV: lane, lowest priority, how many, "last" or nothing.
local jobs = {}
for at, name in ipairs(ranked(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == 'last')) do
  jobs[at] = shown(id_of(name))
end
return told(jobs)
