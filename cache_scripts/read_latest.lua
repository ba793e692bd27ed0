-- All fields of a device's newest values, and the generation they belong to.
local generation = redis.call('GET', KEYS[1])
if not generation then
  generation = ARGV[2]
  redis.call('SET', KEYS[1], generation)
end
local key = KEYS[1] .. ':' .. generation .. ':' .. ARGV[1]
local held = redis.call('HMGET', key, '?', '*')
if held[1] and held[2] then
  return redis.call('HGETALL', key)
end
if not held[1] then
  redis.call('HSET', key, '?', ARGV[2])
  redis.call('EXPIRE', key, ARGV[3])
  return ARGV[2]
end
return held[1]
