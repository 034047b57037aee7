-- What wrk sends, and what it prints: one line of JSON.
-- Arguments: METHOD PATH PAUSE_MS BODY_FILE HEADER_FILE [HEADER: VALUE]…  Of HEADER_FILE each request sends one line.
-- In the path and the headers, {name} is one of 10,000 names, drawn at random, and {id} is another id in each request.
-- A pause makes callers that think for so long on average between two requests.

local NAMES = 10000
local DRAWN = 20000 -- at least so many requests are made before the first is sent

function setup(thread)
  thread:set("seed", 1) -- each run sends the same requests
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function write_head(method, path, headers, body)
  local lines, host = { method .. " " .. path .. " HTTP/1.1" }, "Host: " .. wrk.headers["Host"]
  for _, header in ipairs(headers) do
    lines[#lines + 1] = header
    if header:lower():find("^host:") then
      host = nil
    end
  end
  lines[#lines + 1] = host
  if body then
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function draw_id()
  local parts = {}
  for index = 1, 8 do
    parts[index] = string.format("%04x", math.random(0, 65535))
  end
  return table.concat(parts)
end

local function draw(head)
  return (head:gsub("{name}", "name" .. math.random(0, NAMES - 1)):gsub("{id}", draw_id()))
end

function init(args)
  math.randomseed(seed)
  local method, path, body = args[1], args[2], nil
  if args[4] ~= "-" then
    body = read(args[4])
  end
  local heads, headers = {}, { unpack(args, 6) }
  if args[5] == "-" then
    heads[1] = write_head(method, path, headers, body)
  else
    for line in io.lines(args[5]) do
      headers[#args - 4] = line
      heads[#heads + 1] = write_head(method, path, headers, body)
    end
  end
  local drawn = heads[1]:find("{name}", 1, true) or heads[1]:find("{id}", 1, true)
  requests = {}
  for index = 1, #heads * (drawn and math.ceil(DRAWN / #heads) or 1) do -- each line as often as the others
    requests[index] = draw(heads[(index - 1) % #heads + 1]) .. (body or "")
  end
  turn = 0
  pause = tonumber(args[3])
  if pause > 0 then
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
