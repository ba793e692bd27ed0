-- Drop a device's values.
local generation = redis.call('GET', KEYS[1])
if not generation then return 0 end
return redis.call('DEL', KEYS[1] .. ':' .. generation .. ':' .. ARGV[1])
