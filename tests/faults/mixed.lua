-- Requests of all kinds, most of them good. wrk's threads take them in turn.
local paths = {
  "/greet/a", "/greet/b", "/greet/c", "/greet/d", "/greet/e", "/greet/f", "/big/900",
  "/nobody/a", "/greet/a.b", "/nowhere", "/silent/a", "/big/1001", "/greet/" .. string.rep("x", 200),
}
local number = 0

request = function()
  number = number + 1
  local path = paths[number % #paths + 1]
  if path == "/silent/a" then
    return wrk.format("GET", path, { ["X-Request-Timeout"] = "5ms" })
  end
  return wrk.format("GET", path)
end

done = function(summary)
  io.write("requests ", summary.requests, " ", summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.timeout, "\n")
end
