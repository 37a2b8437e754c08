//! Lua scripts that compare stored records with what was read before they change them.

/// Removes strings if each of them equals its argument. `pcall` makes a key that now holds another
/// type count as changed.
pub(super) const REMOVE_STRINGS: &str = "\
for at, name in ipairs(KEYS) do if redis.pcall('GET', name) ~= ARGV[at] then return 0 end end
for _, name in ipairs(KEYS) do redis.call('UNLINK', name) end
return 1";

/// Removes hashes in the same way. The arguments are, for each hash, the number of its fields, and
/// the fields with their values.
pub(super) const REMOVE_HASHES: &str = "\
local at = 1
for _, name in ipairs(KEYS) do
  local count = tonumber(ARGV[at])
  if redis.pcall('HLEN', name) ~= count then return 0 end
  for field = at + 1, at + 2 * count, 2 do
    if redis.call('HGET', name, ARGV[field]) ~= ARGV[field + 1] then return 0 end
  end
  at = at + 2 * count + 1
end
for _, name in ipairs(KEYS) do redis.call('UNLINK', name) end
return 1";

/// Replaces the string that was read. Returns 1, or 0 if the string has changed, or -1 if the lease
/// is lost. The first key is the record; the second, if present, is the lease. The arguments are
/// the holder of the lease, the time to live in milliseconds (empty for none), the new string, and
/// the string that was read, unless there was none.
pub(super) const SWAP_STRING: &str = "\
if KEYS[2] and redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
if redis.pcall('GET', KEYS[1]) ~= (ARGV[4] or false) then return 0 end
if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
return 1";

/// Replaces a hash in the same way. The arguments from the third one on are: whether fields that
/// are not written stay, the number of fields to remove, their names, the number of following
/// elements, the new fields with their values, and the fields that were read with their values.
pub(super) const SWAP_HASH: &str = "\
if KEYS[2] and redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
local removed = tonumber(ARGV[4])
local written = tonumber(ARGV[5 + removed])
local first = 6 + removed
local seen = first + written
if redis.pcall('HLEN', KEYS[1]) ~= (#ARGV + 1 - seen) / 2 then return 0 end
for at = seen, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) ~= ARGV[at + 1] then return 0 end
end
if ARGV[3] ~= '1' then redis.call('DEL', KEYS[1]) end
if removed > 0 then redis.call('HDEL', KEYS[1], unpack(ARGV, 5, 4 + removed)) end
redis.call('HSET', KEYS[1], unpack(ARGV, first, seen - 1))
if ARGV[2] == '' then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
return 1";
