-- Store what PostgreSQL answered, never over something newer.
local generation = redis.call('GET', KEYS[1])
if not generation then return 0 end
local key = KEYS[1] .. ':' .. generation .. ':' .. ARGV[1]
if redis.call('HGET', key, '?') ~= ARGV[2] then return 0 end
local function observed_at(value) return tonumber(string.match(value, '^%[(%-?%d+),')) end
for i = 4, #ARGV, 2 do
  local held = redis.call('HGET', key, ARGV[i])
  if not held or observed_at(held) < observed_at(ARGV[i + 1]) then
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', key, '*', '1')
redis.call('EXPIRE', key, ARGV[3])
return 1
