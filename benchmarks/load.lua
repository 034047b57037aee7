-- What wrk sends, and what it prints: one line of JSON.
-- Arguments: METHOD PAUSE_MS BODY_FILE HEADER_FILE [HEADER: VALUE]…  Of HEADER_FILE each request sends one line.
-- A pause makes callers that think for so long on average between two requests.

function setup(thread)
  thread:set("seed", 1)
end

function add_header(headers, line)
  local name, value = line:match("^([^:]+): (.*)$")
  headers[name] = value
end

function init(args)
  local headers = {}
  for index = 5, #args do
    add_header(headers, args[index])
  end
  local body = nil
  if args[3] ~= "-" then
    local file = assert(io.open(args[3], "rb"))
    body = file:read("*a")
    file:close()
  end
  requests = {}
  if args[4] == "-" then
    requests[1] = wrk.format(args[1], nil, headers, body)
  else
    for line in io.lines(args[4]) do
      add_header(headers, line)
      requests[#requests + 1] = wrk.format(args[1], nil, headers, body)
    end
  end
  turn = 0
  pause = tonumber(args[2])
  if pause > 0 then
    math.randomseed(seed)
    delay = function()
      return math.random(0, 2 * pause)
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "failed": %d, "lost": %d, "p50_ms": %.4f, "p99_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
