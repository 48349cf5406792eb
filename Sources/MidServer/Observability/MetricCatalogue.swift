/// Every metric that mid exports: names, units and meanings stand here and nowhere else.
package enum MetricCatalogue {
  /// From 1 µs to 10 s, as calls answered from memory take a few microseconds and calls that wait take seconds.
  package static let callBuckets: [Double] = [
    0.000001, 0.0000025, 0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005,
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  ]

  /// From 5 ms to 10 s: the buckets that existing dashboards of `mysql_query_duration_seconds` expect.
  package static let queryBuckets: [Double] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

  /// From 50 µs to 10 s: a commit on an embedded store takes less than a millisecond.
  package static let storeBuckets: [Double] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  ]

  // The four names below are fixed by existing dashboards, units included.
  package static let idGenerate = MetricFamily(
    "id_generate_total", .counter, unit: .ids, labels: ["mode"], "IDs handed out, by mode.")
  package static let bufferUsage = MetricFamily(
    "buffer_usage", .gauge, unit: .ids, labels: ["mode", "buffer"],
    "IDs left in the serving (buffer1) and standby (buffer2) segments of all tags.")
  package static let queryDuration = MetricFamily(
    "mysql_query_duration_seconds", .histogram(buckets: queryBuckets), unit: .seconds,
    "Time of the store operations that load segments, whatever the store.")
  package static let ntpOffsetMilliseconds = MetricFamily(
    "ntp_offset_milliseconds", .gauge, unit: .milliseconds,
    "How far the NTP servers' clock is ahead of this machine's, in milliseconds; negative where it is behind.")

  package static let calls = MetricFamily(
    "mid_rpc_calls_total", .counter, unit: .calls, labels: ["method", "code"],
    "gRPC calls answered, by method and status code.")
  package static let callDuration = MetricFamily(
    "mid_rpc_duration_seconds", .histogram(buckets: callBuckets), unit: .seconds, labels: ["method"],
    "Time from a gRPC call's full request to its answer, by method.")
  package static let connections = MetricFamily(
    "mid_rpc_connections", .gauge, unit: .connections, "gRPC connections open now.")
  package static let connectionEnds = MetricFamily(
    "mid_rpc_connections_ended_total", .counter, unit: .connections, labels: ["reason"],
    "gRPC connections that the server ended or did not take for a reason of its own, by reason.")
  package static let heldMemory = MetricFamily(
    "mid_rpc_held_bytes", .gauge, unit: .bytes,
    "Bytes of requests and replies that gRPC connections hold now because they can't move on.")

  package static let handshakeFailures = MetricFamily(
    "mid_tls_handshake_failures_total", .counter, unit: .connections, labels: ["reason"],
    "gRPC connections that ended in their TLS handshake, by reason (refused, no_http2, timeout, closed).")
  package static let certificateExpiry = MetricFamily(
    "mid_tls_certificate_expiry_timestamp_seconds", .gauge, unit: .seconds,
    "The Unix time at which the gRPC server's TLS certificate ends to be valid; absent without TLS.")

  package static let httpRequests = MetricFamily(
    "mid_http_requests_total", .counter, unit: .calls, labels: ["route", "code"],
    "HTTP requests answered, by the pattern of their path (none where there is nothing) and status code.")
  package static let httpDuration = MetricFamily(
    "mid_http_duration_seconds", .histogram(buckets: callBuckets), unit: .seconds, labels: ["route"],
    "Time from an HTTP request's header to its answer, by the pattern of its path.")

  package static let httpConnectionEnds = MetricFamily(
    "mid_http_connections_ended_total", .counter, unit: .connections, labels: ["reason"],
    "HTTP connections that the server ended for breaking a bound, by reason (half_sent, memory, slow, stuck).")
  package static let httpHeldMemory = MetricFamily(
    "mid_http_held_bytes", .gauge, unit: .bytes,
    "Bytes of answers that HTTP clients have not taken yet, of those being made, and of requests that wait behind them."
  )

  package static let segmentWaiters = MetricFamily(
    "mid_segment_waiters", .gauge, unit: .calls, labels: ["tag"], "Calls that wait for a segment now, by tag.")
  package static let segmentIDsLeft = MetricFamily(
    "mid_segment_ids_left", .gauge, unit: .ids, labels: ["tag", "buffer"],
    "IDs left, by tag and buffer (serving, standby).")
  package static let segmentSize = MetricFamily(
    "mid_segment_size", .gauge, unit: .ids, labels: ["tag", "reason"],
    "Ids that the next load takes, by tag, and why that changed last: start, faster, slower, step or maximum.")
  package static let segmentRate = MetricFamily(
    "mid_segment_ids_per_second", .gauge, unit: .ids, labels: ["tag", "window"],
    "Rate at which ids are used, by tag: now (seconds, up to one load), and on average over the last hour.")
  package static let segmentDry = MetricFamily(
    "mid_segment_dry_seconds", .gauge, unit: .seconds, labels: ["tag", "buffer"],
    "Forecast of when ids run out if nothing is loaded, by tag: of the serving buffer, and of all. Absent where none are used."
  )
  package static let segmentLoads = MetricFamily(
    "mid_segment_loads_total", .counter, unit: .operations, labels: ["tag", "result"],
    "Loads of a segment from the store, by tag and result (ok, or the error's code).")

  package static let segmentDatabaseUp = MetricFamily(
    "mid_segment_database_up", .gauge, unit: .none, labels: ["database"],
    "1 where a database of segment.stripes or segment.shards answered the last time it was asked, else 0; absent without."
  )

  package static let segmentTagsLeftOut = MetricFamily(
    "mid_segment_tags_left_out", .gauge, unit: .none, labels: ["database"],
    "For how many tags this database of segment.stripes is left out because it has lost commits; mid tag advance and SIGHUP end it."
  )

  package static let storeDuration = MetricFamily(
    "mid_store_operation_duration_seconds", .histogram(buckets: storeBuckets), unit: .seconds,
    labels: ["store", "operation"], "Time of the store's operations, failed ones included.")
  package static let storeErrors = MetricFamily(
    "mid_store_errors_total", .counter, unit: .operations, labels: ["store", "operation", "code"],
    "Store operations that failed, by error code.")

  package static let storeSemiSync = MetricFamily(
    "mid_store_semi_sync", .gauge, unit: .none,
    "1 where the database's commits wait for a replica, 0 where not; absent where the store has no such thing.")

  package static let buildInfo = MetricFamily(
    "mid_build_info", .gauge, unit: .none, labels: ["version", "os", "arch"], "Always 1; the labels say what runs.")
  package static let ready = MetricFamily(
    "mid_ready", .gauge, unit: .none, labels: ["mode"], "1 where the mode can hand out IDs now, 0 where it can't.")

  package static let workerID = MetricFamily(
    "mid_snowflake_worker_id", .gauge, unit: .none, "The worker number in use; absent while there is none.")
  package static let workerTerm = MetricFamily(
    "mid_snowflake_worker_term", .gauge, unit: .none,
    "The term under which the store has leased the worker number; absent while it has not.")
  package static let workerLease = MetricFamily(
    "mid_snowflake_lease_left_seconds", .gauge, unit: .seconds,
    "How long Snowflake IDs are handed out without a renewal of the worker number's lease; absent without one.")
  package static let workerChanges = MetricFamily(
    "mid_snowflake_worker_changes_total", .counter, unit: .none,
    "Changes from one worker number to another since the start.")
  package static let workerBound = MetricFamily(
    "mid_snowflake_bound_timestamp_seconds", .gauge, unit: .seconds,
    "The Unix time that no Snowflake ID reaches before the bound is renewed.")
  package static let layoutEnd = MetricFamily(
    "mid_snowflake_layout_end_timestamp_seconds", .gauge, unit: .seconds,
    "The Unix time at which the layout's time bits run out.")

  package static let kernelSynchronized = MetricFamily(
    "mid_clock_kernel_synchronized", .gauge, unit: .none, "1 where the kernel says its clock is synchronised, else 0.")
  package static let kernelLeap = MetricFamily(
    "mid_clock_kernel_leap", .gauge, unit: .none,
    "1 where the kernel will insert a leap second at the end of the UTC day, -1 where it will leave one out, else 0.")
  package static let kernelEstimatedError = MetricFamily(
    "mid_clock_kernel_estimated_error_seconds", .gauge, unit: .seconds, "The kernel's estimate of its clock's error.")
  package static let kernelMaximumError = MetricFamily(
    "mid_clock_kernel_maximum_error_seconds", .gauge, unit: .seconds, "The kernel's bound of its clock's error.")
  package static let ntpOffset = MetricFamily(
    "mid_ntp_offset_seconds", .gauge, unit: .seconds,
    "How far the NTP servers' clock is ahead of this machine's; negative where it is behind.")
  package static let ntpQueries = MetricFamily(
    "mid_ntp_queries_total", .counter, unit: .operations, labels: ["server", "result"],
    "Questions to NTP servers, by server and result.")

  package static let ntpFalsetickers = MetricFamily(
    "mid_ntp_falsetickers", .gauge, unit: .none,
    "NTP servers whose last answer can't be true together with that of most others; they don't count.")
  package static let clockSteps = MetricFamily(
    "mid_clock_steps_total", .counter, unit: .none, labels: ["direction"],
    "Steps of this machine's clock against its monotonic one, by direction (forward, backward).")
  package static let clockReturns = MetricFamily(
    "mid_clock_returns_total", .counter, unit: .none, labels: ["mode"],
    "Times that ids of a mode that is in order (uuid7, ulid, objectid) followed a clock back that was set back by more than 10 s."
  )
  package static let clockTrusted = MetricFamily(
    "mid_clock_trusted", .gauge, unit: .none,
    "0 where this machine's clock is off by more than clock.max_offset, which takes Snowflake's readiness, else 1.")
  package static let clockStoreTrusted = MetricFamily(
    "mid_clock_store_trusted", .gauge, unit: .none,
    "0 where the store's clock is off, by NTP servers or most other nodes, else 1; absent without a store that others share."
  )
  package static let clockStoreOffset = MetricFamily(
    "mid_clock_store_offset_seconds", .gauge, unit: .seconds,
    "How far the store's clock is ahead of this machine's; absent without a store that others share.")

  package static let processCPU = MetricFamily(
    "process_cpu_seconds_total", .counter, unit: .seconds, "User and system CPU time of the process.")
  package static let processMemory = MetricFamily(
    "process_resident_memory_bytes", .gauge, unit: .bytes, "Resident memory of the process.")
  package static let processFiles = MetricFamily(
    "process_open_fds", .gauge, unit: .none, "Open file descriptors of the process.")
  package static let processStart = MetricFamily(
    "process_start_time_seconds", .gauge, unit: .seconds, "The Unix time at which the process started.")
  package static let droppedSeries = MetricFamily(
    "mid_metrics_dropped_series_total", .counter, unit: .none,
    "Metric series that are not exported: past the limit, or named as another metric of a different type.")

  /// All of them.
  package static let all: [MetricFamily] = [
    idGenerate, bufferUsage, queryDuration, ntpOffsetMilliseconds,
    calls, callDuration, connections, connectionEnds, heldMemory, handshakeFailures, certificateExpiry,
    httpRequests, httpDuration, httpConnectionEnds, httpHeldMemory, segmentWaiters, segmentIDsLeft, segmentSize,
    segmentRate, segmentDry, segmentLoads,
    segmentDatabaseUp, segmentTagsLeftOut,
    storeDuration, storeErrors, storeSemiSync, buildInfo, ready,
    workerID, workerTerm, workerLease, workerBound, workerChanges, layoutEnd,
    kernelSynchronized, kernelLeap, kernelEstimatedError, kernelMaximumError, ntpOffset, ntpQueries, ntpFalsetickers,
    clockSteps, clockReturns, clockTrusted, clockStoreTrusted, clockStoreOffset,
    processCPU, processMemory, processFiles, processStart, droppedSeries,
  ]
}
