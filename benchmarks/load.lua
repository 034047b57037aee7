-- What wrk sends, and what it prints: one line of JSON. Arguments: METHOD PAUSE_MS BODY_FILE [HEADER: VALUE]…
-- A pause makes callers that think for so long on average between two requests.

function setup(thread)
  thread:set("seed", 1)
end

function init(args)
  local headers = {}
  for index = 4, #args do
    local name, value = args[index]:match("^([^:]+): (.*)$")
    headers[name] = value
  end
  local body = nil
  if args[3] ~= "-" then
    local file = assert(io.open(args[3], "rb"))
    body = file:read("*a")
    file:close()
  end
  request_bytes = wrk.format(args[1], nil, headers, body)
  pause = tonumber(args[2])
  if pause > 0 then
    math.randomseed(seed)
    delay = function()
      return math.random(0, 2 * pause)
    end
  end
end

function request()
  return request_bytes
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "failed": %d, "lost": %d, "p50_ms": %.4f, "p99_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
