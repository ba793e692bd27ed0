-- Store newest values after a commit, each unless something newer is there.
-- ARGV is a sequence of groups: entry, n, n names of fields, n values.
local generation = redis.call('GET', KEYS[1])
if not generation then return 0 end
local function observed_at(value) return tonumber(string.match(value, '^%[(%-?%d+),')) end
local at = 1
while at <= #ARGV do
  local key = KEYS[1] .. ':' .. generation .. ':' .. ARGV[at]
  local n = tonumber(ARGV[at + 1])
  local held = redis.call('HMGET', key, '?', unpack(ARGV, at + 2, at + 1 + n))
  if held[1] then
    local changed = {}
    for i = 1, n do
      local value = ARGV[at + 1 + n + i]
      if not held[i + 1] or observed_at(held[i + 1]) <= observed_at(value) then
        changed[#changed + 1] = ARGV[at + 1 + i]
        changed[#changed + 1] = value
      end
    end
    if #changed > 0 then redis.call('HSET', key, unpack(changed)) end
  end
  at = at + 2 + 2 * n
end
return 1
