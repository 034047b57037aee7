-- So many responses a connection, counted by path and status. Each thread has one connection and stops right after its
-- last response, so no request is in flight at the end. Arguments: how many, then the paths.
local threads, tally = {}, {}
local wanted, paths, number, seen = 0, {}, 0, 0
counts = "" -- what another thread can read: lines of path, status, count

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  wanted = tonumber(args[1])
  for index = 2, #args do
    paths[#paths + 1] = args[index]
  end
end

function request()
  number = number + 1
  return wrk.format("GET", paths[(number - 1) % #paths + 1])
end

function response(status)
  seen = seen + 1
  local key = paths[(number - 1) % #paths + 1] .. " " .. status -- of the one request that is under way
  tally[key] = (tally[key] or 0) + 1
  if seen == wanted then
    for name, count in pairs(tally) do
      counts = counts .. name .. " " .. count .. "\n"
    end
    wrk.thread:stop()
    io.stderr:write("stopped\n")
  end
end

function done(summary)
  for _, thread in ipairs(threads) do
    io.write(thread:get("counts"))
  end
  local errors = summary.errors
  io.write("summary ", summary.requests, " ", errors.connect + errors.read + errors.write + errors.timeout, "\n")
end
