-- POSTs one fixed body and prints what was measured as one line of JSON. Latencies are in microseconds.

function init(_)
    local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
    wrk.method = "POST"
    wrk.body = file:read("*a")
    wrk.headers["Content-Type"] = "application/json"
    local token = os.getenv("BENCH_TOKEN")
    if token then
        wrk.headers["Authorization"] = "Bearer " .. token
    end
    file:close()
    request_bytes = wrk.format()
end

function request()
    return request_bytes
end

function done(summary, latency, _)
    local errors = summary.errors
    print(string.format(
        'RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, "errors": %d}',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
