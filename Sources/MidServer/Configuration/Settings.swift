import Logging
import MidCore

/// Every setting there is, with its default and bounds. The one place where they stand.
package enum Settings {
  static let storeURL = Setting(
    "store.url", .store, default: "sqlite:./mid-data/mid.db", flag: "--store",
    help: "Where segments and worker ids are kept. A password belongs in store.password, not here.")
  static let storePassword = Setting(
    "store.password", .optional(.secret), default: "", isAllowedAsFlag: false,
    help: "The database user's password. It wins over one in store.url and is never logged.")
  static let storeConnections = Setting(
    "store.connections", .integer(1...64), default: "2",
    help: "How many connections to the store are held, each with a thread of its own.")
  static let storeTimeout = Setting(
    "store.timeout", .duration(.milliseconds(100)...(.seconds(60))), default: "5s",
    help: "How long one operation of the store may take, connecting included.")
  static let storeRequireSemiSync = Setting(
    "store.require_semi_sync", .onOff, default: "off",
    help:
      "Whether segments are ready only while the database's commits wait for a replica (semi-synchronous replication).")
  static let dataDirectory = Setting(
    "data.directory", .folder, default: "./mid-data",
    help: "Where this node keeps its owner token and its short time bound. Never share it between nodes.")

  static let grpcAddress = Setting(
    "grpc.address", .address, default: "127.0.0.1:50051", flag: "--grpc",
    help: "Where gRPC listens. Anything but loopback is open to whoever reaches it; see grpc.tls.certificate.")
  static let grpcEventLoops = Setting(
    "grpc.event_loops", .integer(0...1_024), default: "0",
    help: "How many threads serve gRPC connections; 0 takes one per core.")
  static let grpcMaxConnections = Setting(
    "grpc.max_connections", .integer(1...1_000_000), default: "10000",
    help: "How many gRPC connections may be open at once; more are closed as they come.")
  static let grpcMaxStreams = Setting(
    "grpc.max_streams", .integer(1...100_000), default: "1000",
    help: "How many calls one connection may have open at once.")
  static let grpcMaxMessageBytes = Setting(
    "grpc.max_message_bytes", .integer(1_024...16_777_216), default: "65536",
    help: "The largest request message, in bytes.")
  static let grpcMaxHeaderBytes = Setting(
    "grpc.max_header_bytes", .integer(1_024...1_048_576), default: "16384",
    help: "The largest header list of a request, in bytes as RFC 9113 counts them.")

  static let grpcMaxWindowBytes = Setting(
    "grpc.max_window_bytes", .integer(65_535...1_073_741_824), default: "1048576",
    help: "How many bytes of half-sent requests one connection may hold, in all its calls.")
  static let grpcMaxHeldBytes = Setting(
    "grpc.max_held_bytes", .integer(65_536...1_073_741_824), default: "1048576",
    help: "How many bytes of replies one connection may hold that its client does not take yet.")
  static let grpcMaxMemoryBytes = Setting(
    "grpc.max_memory_bytes", .integer(1_048_576...68_719_476_736), default: "268435456",
    help: "How many such bytes all connections may hold together; beyond it, those above their share are ended.")
  static let grpcMaxUnproductiveFrames = Setting(
    "grpc.max_unproductive_frames", .integer(100...10_000_000), default: "10000",
    help: "How many frames that carry no call forward a connection may send in 15 s, beyond 32 for each reply.")
  static let grpcMaxResets = Setting(
    "grpc.max_resets", .integer(10...10_000_000), default: "2000",
    help: "How many calls of a connection may end by RST_STREAM in 15 s, beyond one for each reply.")
  static let grpcPingMinInterval = Setting(
    "grpc.ping_min_interval", .duration(.zero...(.seconds(3_600))), default: "4s",
    help: "How far apart a client's PINGs must be where no reply lies between; gRPC clients wait 10 s or more.")
  static let grpcPingStrikes = Setting(
    "grpc.ping_strikes", .integer(0...1_000_000), default: "2",
    help: "How many PINGs may come too soon before the connection ends with too_many_pings.")
  static let grpcFirstRequestTimeout = Setting(
    "grpc.first_request_timeout", .duration(.milliseconds(100)...(.seconds(600))), default: "10s",
    help: "How long a new connection may take to say that it speaks HTTP/2, TLS handshake included.")
  static let grpcStuckTimeout = Setting(
    "grpc.stuck_timeout", .duration(.milliseconds(100)...(.seconds(3_600))), default: "30s",
    help: "How long a half-sent request, or a reply that its client does not take, may stand still.")
  static let grpcKeepaliveInterval = Setting(
    "grpc.keepalive_interval", .durationOrOff(.seconds(1)...(.seconds(86_400))), default: "60s",
    help: "How long a connection may be quiet before it is sent a PING, or off.")
  static let grpcKeepaliveTimeout = Setting(
    "grpc.keepalive_timeout", .duration(.milliseconds(100)...(.seconds(600))), default: "20s",
    help: "How long the answer to that PING may take before the connection is closed.")
  static let grpcIdleTimeout = Setting(
    "grpc.idle_timeout", .durationOrOff(.seconds(1)...(.seconds(86_400))), default: "off",
    help: "How long a connection may go without a call or any byte before it is asked to end, or off.")
  static let grpcConnectionAge = Setting(
    "grpc.connection_age", .durationOrOff(.seconds(1)...(.seconds(2_592_000))), default: "off",
    help: "How old a connection may become, give or take a tenth, before it is asked to end, or off.")
  static let grpcReflection = Setting(
    "grpc.reflection", .onOff, default: "on",
    help: "Whether callers without .proto files, grpcurl for one, may ask what there is to call.")

  static let grpcTLSCertificate = Setting(
    "grpc.tls.certificate", .optional(.file), default: "",
    help:
      "The server's certificate chain, PEM, its own first. With it and grpc.tls.key gRPC and HTTP are served over TLS only."
  )
  static let grpcTLSKey = Setting(
    "grpc.tls.key", .optional(.file), default: "",
    help: "The private key of the certificate, PEM and not encrypted. Only this program's user should read it.")
  static let grpcTLSClientCA = Setting(
    "grpc.tls.client_ca", .optional(.file), default: "",
    help: "The authorities that sign clients' certificates, PEM. Needs grpc.tls.client_certificates.")
  static let grpcTLSClientCertificates = Setting(
    "grpc.tls.client_certificates", .clientCertificates, default: "none",
    help: "Whether clients show a certificate signed by grpc.tls.client_ca; one that is optional is checked when given."
  )
  static let grpcTLSMinimumVersion = Setting(
    "grpc.tls.minimum_version", .tlsVersion, default: "1.2",
    help: "The least version of TLS that clients may use.")

  static let grpcTLSMaxHandshakes = Setting(
    "grpc.tls.max_handshakes", .integer(1...1_000_000), default: "1000",
    help:
      "How many TLS handshakes may be under way at once, about 55 KiB each; more connections are closed as they come."
  )

  static let httpAddress = Setting(
    "http.address", .addressOrOff, default: "127.0.0.1:8080", flag: "--http",
    help: "Where HTTP listens, or off. It is served over TLS where gRPC is. See docs/http-api.md.")
  static let httpMaxConnections = Setting(
    "http.max_connections", .integer(1...1_000_000), default: "1000",
    help: "How many HTTP connections are served at once; where there are as many, the one idle longest gives way.")
  static let httpMaxHeaderBytes = Setting(
    "http.max_header_bytes", .integer(1_024...1_048_576), default: "16384",
    help: "The largest header of a request, in bytes.")
  static let httpMaxBodyBytes = Setting(
    "http.max_body_bytes", .integer(1_024...16_777_216), default: "65536",
    help: "The longest body of a request, in bytes.")
  static let httpMaxIDs = Setting(
    "http.max_ids", .integer(1...1_000_000), default: "10000",
    help:
      "The most ids that one answer lists one by one. Ranges, which a batch is answered with, are bounded by batch.max."
  )
  static let httpMaxMemoryBytes = Setting(
    "http.max_memory_bytes", .integer(1_048_576...68_719_476_736), default: "268435456",
    help: "How many bytes of answers not read yet all connections may hold together; slow readers give way first.")
  static let httpMinReadRate = Setting(
    "http.min_read_rate", .integer(1...1_073_741_824), default: "512",
    help: "How many bytes a second of an answer its client has to read, http.request_timeout's worth less.")
  static let httpRequestTimeout = Setting(
    "http.request_timeout", .duration(.milliseconds(100)...(.seconds(600))), default: "10s",
    help: "How long a request may take to come whole, and how long its client may read nothing of an answer.")
  static let httpIdleTimeout = Setting(
    "http.idle_timeout", .duration(.seconds(1)...(.seconds(86_400))), default: "60s",
    help: "How long a connection may go without a request, TLS handshake and header included, before it is closed.")

  static let httpTinyidAddress = Setting(
    "http.tinyid.address", .addressOrOff, default: "off",
    help: "Where Tinyid's paths are served alone, beside http.address: Tinyid's own port is 9999.")
  static let httpTinyidTokens = Setting(
    "http.tinyid.tokens", .onOff, default: "on",
    help: "Whether Tinyid's paths ask for a token of the table tiny_id_token; without that table nobody has one.")

  static let metricsAddress = Setting(
    "metrics.address", .addressOrOff, default: "127.0.0.1:9190", flag: "--metrics",
    help: "Where GET /metrics answers Prometheus, or off.")

  static let workerID = Setting(
    "worker.id", .workerID, default: "leased", flag: "--worker-id",
    help: "This node's worker number, which no other node has: leased from the store, or fixed.")
  static let workerRange = Setting(
    "worker.range", .optional(.workerRange), default: "",
    help: "Which worker numbers may be leased; all that the layout has bits for where it is not set.")
  static let datacenterID = Setting(
    "datacenter.id", .optional(.integer(0...65_535)), default: "", flag: "--datacenter-id",
    help: "This node's datacenter number, for layouts that have one. Its bound is what the layout has bits for.")

  static let snowflakeLayout = Setting(
    "snowflake.layout", .layout, default: "original",
    help: "How the 63 bits are shared out, and the epoch. Never change it while ids of the old one are in use.")
  static let snowflakeMaxAhead = Setting(
    "snowflake.max_ahead", .duration(.zero...(.seconds(60))), default: "1s",
    help: "How far ids may run ahead of the clock before calls wait for it.")
  static let snowflakeSequenceJitter = Setting(
    "snowflake.sequence_jitter", .integer(1...4_096), default: "100",
    help: "A new tick's sequence starts at a random number below this, so that ids spread over shards; 1 turns it off.")
  static let snowflakeLocalBound = Setting(
    "snowflake.local_bound", .duration(.seconds(2)...(.seconds(60))), default: "3s",
    help: "How far ahead the time bound in the data folder lies: what a restart after a crash waits at most.")
  static let snowflakeLease = Setting(
    "snowflake.lease", .duration(.seconds(5)...(.seconds(86_400))), default: "10m",
    help: "How long a worker id stays this node's without the store: the outage that Snowflake survives.")
  static let snowflakeRenewInterval = Setting(
    "snowflake.renew_interval", .duration(.milliseconds(500)...(.seconds(3_600))), default: "10s",
    help: "How often the lease of the worker id is renewed; at most a third of snowflake.lease.")

  static let segmentLoadAt = Setting(
    "segment.load_at", .fraction(0.01...0.9), default: "0.10",
    help: "The used share of the serving segment at which the next one is loaded.")
  static let segmentMaxWaiters = Setting(
    "segment.max_waiters", .integer(1...1_000_000), default: "10000",
    help: "How many calls may wait for a segment of one tag; more fail with RESOURCE_EXHAUSTED.")
  static let segmentMaxWait = Setting(
    "segment.max_wait", .duration(.milliseconds(10)...(.seconds(60))), default: "3s",
    help: "How long a call that brings no deadline of its own waits for an id.")
  static let segmentTarget = Setting(
    "segment.target", .duration(.seconds(1)...(.seconds(86_400))), default: "15m",
    help:
      "How long a loaded segment is to last at the measured rate of use; the tag's step is the least that is loaded.")
  static let segmentMaxLoad = Setting(
    "segment.max_load", .integer(1...1_000_000_000), default: "1000000",
    help: "The most ids that one load takes because of the rate of use. A larger step of the tag wins.")
  static let segmentOutage = Setting(
    "segment.outage", .duration(.zero...(.seconds(86_400))), default: "10m",
    help:
      "How long the store may be away without a call noticing, at the average rate of the last hour; 0s turns it off.")
  static let segmentUnused = Setting(
    "segment.unused", .durationOrOff(.seconds(10)...(.seconds(2_592_000))), default: "1h",
    help: "After how long without a call the cached ids of a tag go back to the store, or off.")
  static let segmentTagRefresh = Setting(
    "segment.tag_refresh", .duration(.seconds(1)...(.seconds(3_600))), default: "60s",
    help: "How often the list of tags is read again.")
  static let segmentStripes = Setting(
    "segment.stripes", .stripes(1...16), default: "", isAllowedAsFlag: false,
    help:
      "Databases that each have all tags: the k-th of N, from 0, hands out ids whose remainder by N is k. Any but one may be down. Change the list by `mid tag restripe` alone. See docs/databases.md."
  )
  static let segmentShards = Setting(
    "segment.shards", .shards(atMost: 16), default: "", isAllowedAsFlag: false,
    help:
      "Databases that tags are shared out over by their names: each tag lives in one. One that is down takes only its tags. See docs/databases.md."
  )
  static let segmentPins = Setting(
    "segment.pins", .pins(atMost: 1_000), default: "",
    help: "Which tags live in which database of segment.shards, whatever their names.")
  static let segmentDatabaseTimeout = Setting(
    "segment.database_timeout", .duration(.milliseconds(50)...(.seconds(60))), default: "500ms",
    help: "How long one of several databases of segments may take before another is asked.")
  static let tableDialect = Setting(
    "segment.table.dialect", .tableKind, default: "mid", flag: "--table",
    help: "Whose table the tags stand in: what it is named, and which ids a row stands for. See docs/tables.md.")
  static let tableName = Setting(
    "segment.table.name", .optional(.tableName), default: "",
    help: "The table's name where it is not the dialect's own.")
  static let tableTagColumn = Setting(
    "segment.table.tag_column", .optional(.tableName), default: "", help: "The column with the tag, likewise.")
  static let tableMaxColumn = Setting(
    "segment.table.max_column", .optional(.tableName), default: "", help: "The column that ids come from, likewise.")
  static let tableStepColumn = Setting(
    "segment.table.step_column", .optional(.tableName), default: "", help: "The column with the step, likewise.")
  static let tableUpdatedColumn = Setting(
    "segment.table.updated_column", .optional(.tableName), default: "",
    help: "The column with the time of the last change, likewise. Of MySQL's tables only Tinyid's is asked for it.")
  static let tableVersionColumn = Setting(
    "segment.table.version_column", .optional(.tableName), default: "",
    help: "The column that counts changes, likewise; for tinyid.")
  static let tableBeginColumn = Setting(
    "segment.table.begin_column", .optional(.tableName), default: "",
    help: "The column that keeps where a tag began, likewise; for tinyid.")
  static let tableDeltaColumn = Setting(
    "segment.table.delta_column", .optional(.tableName), default: "",
    help: "The column with the distance between ids, likewise; for tinyid.")
  static let tableRemainderColumn = Setting(
    "segment.table.remainder_column", .optional(.tableName), default: "",
    help: "The column with the remainder that ids have, likewise; for tinyid.")
  static let ticketDatabases = Setting(
    "ticket.databases", .databases(atMost: 16), default: "", isAllowedAsFlag: false,
    help:
      "The databases of tickets, in an order that never changes: the k-th of N counts in steps of N from k. Without any, the store's own database."
  )
  static let ticketTables = Setting(
    "ticket.tables", .tables(atMost: 100), default: "default=Tickets64",
    help: "Which table counts the tickets of which tag; missing tables are made by the first call.")
  static let ticketTimeout = Setting(
    "ticket.timeout", .duration(.milliseconds(50)...(.seconds(60))), default: "500ms",
    help: "How long one of several ticket databases may take before its calls are sent to another.")
  static let ticketBatchMax = Setting(
    "ticket.batch_max", .integer(1...1_000), default: "50",
    help: "The most tickets of one call, and of one statement for those who wait together.")
  static let batchMax = Setting(
    "batch.max", .integer(1...1_000_000), default: "1000000",
    help: "The most ids that one batch call may ask for.")

  static let uuid7Increment = Setting(
    "uuid7.increment", .uuid7Increment, default: "counter",
    help:
      "What tells UUIDs of version 7 of one millisecond apart: a counter with 32 random bits after it, or steps of 1 to 2^32 of "
      + "all 74 bits, which do not show how many were made between two.")

  static let textForms = Setting(
    "text.forms", .forms(atMost: 1_000), default: "",
    help: "What a tag's ids look like as texts, by tag: orders=ORD-{day}-{decimal:10}. See docs/forms.md.")
  static let opaqueTags = Setting(
    "opaque.tags", .opaqueTags(atMost: 1_000), default: "",
    help: "Tags whose ids have an opaque number too, and its bits: 63, or 53 for JavaScript. See docs/forms.md.")
  static let opaqueKeys = Setting(
    "opaque.keys", .opaqueKeys, default: "",
    help:
      "The keys of opaque numbers, by slot: where they stand, never the keys themselves. A slot's key must never change."
  )
  static let opaqueCurrent = Setting(
    "opaque.current", .opaqueSlot, default: "",
    help: "The slot of the key that new opaque numbers are made with; not needed while there is one key.")
  static let opaqueSlotBits = Setting(
    "opaque.slot_bits", .integer(0...4), default: "4",
    help:
      "How many bits of an opaque number tell its key: room for 1 to 16 keys over time. Never change it once numbers are out."
  )

  static let clockNTPServers = Setting(
    "clock.ntp.servers", .servers(defaultPort: 123, atMost: 16), default: "",
    help: "NTP servers to compare the clock with; none by default. mid only looks, it never sets the clock.")
  static let clockNTPInterval = Setting(
    "clock.ntp.interval", .duration(.seconds(1)...(.seconds(86_400))), default: "60s",
    help: "How often each NTP server is asked. Public servers ask for a minute or more.")
  static let clockMaxOffset = Setting(
    "clock.max_offset", .duration(.milliseconds(1)...(.seconds(86_400))), default: "1s",
    help:
      "How far the clock may be off, by NTP servers or the store, before Snowflake's readiness goes; by NTP servers it does not start."
  )

  static let logLevel = Setting(
    "log.level", .logLevel, default: "info",
    help: "The least severe level that is logged.")
  static let logFormat = Setting(
    "log.format", .logFormat, default: "auto",
    help: "How log lines on standard error look; auto is text on a terminal and JSON elsewhere.")
  static let shutdownGrace = Setting(
    "shutdown.grace", .duration(.milliseconds(100)...(.seconds(600))), default: "10s",
    help: "How long calls in flight may take after SIGTERM before they are cut off.")

  /// All of them, in the order in which help shows them.
  package static let all: [any SettingDescription] = [
    storeURL, storePassword, storeConnections, storeTimeout, dataDirectory,
    storeRequireSemiSync,
    grpcAddress, grpcEventLoops, grpcMaxConnections, grpcMaxStreams, grpcMaxMessageBytes, grpcMaxHeaderBytes,
    grpcMaxWindowBytes, grpcMaxHeldBytes, grpcMaxMemoryBytes, grpcMaxUnproductiveFrames, grpcMaxResets,
    grpcPingMinInterval, grpcPingStrikes, grpcFirstRequestTimeout, grpcStuckTimeout, grpcKeepaliveInterval,
    grpcKeepaliveTimeout, grpcIdleTimeout, grpcConnectionAge, grpcReflection,
    grpcTLSCertificate, grpcTLSKey, grpcTLSClientCA, grpcTLSClientCertificates, grpcTLSMinimumVersion,
    grpcTLSMaxHandshakes,
    httpAddress, httpMaxConnections, httpMaxHeaderBytes, httpMaxBodyBytes, httpMaxIDs, httpMaxMemoryBytes,
    httpRequestTimeout, httpMinReadRate,
    httpIdleTimeout, httpTinyidAddress, httpTinyidTokens,
    metricsAddress, workerID, workerRange, datacenterID,
    snowflakeLayout, snowflakeMaxAhead, snowflakeSequenceJitter, snowflakeLocalBound, snowflakeLease,
    snowflakeRenewInterval,
    segmentLoadAt, segmentMaxWaiters, segmentMaxWait, segmentTarget, segmentMaxLoad, segmentOutage,
    segmentTagRefresh, segmentUnused, segmentStripes, segmentShards, segmentPins, segmentDatabaseTimeout, batchMax,
    ticketDatabases, ticketTables, ticketTimeout, ticketBatchMax,
    tableDialect, tableName, tableTagColumn, tableMaxColumn, tableStepColumn, tableUpdatedColumn, tableVersionColumn,
    tableBeginColumn, tableDeltaColumn, tableRemainderColumn,
    uuid7Increment, textForms, opaqueTags, opaqueKeys, opaqueCurrent, opaqueSlotBits, clockNTPServers, clockNTPInterval,
    clockMaxOffset,
    logLevel, logFormat, shutdownGrace,
  ]

  /// All of them by key.
  static let byKey: [String: any SettingDescription] = Dictionary(uniqueKeysWithValues: all.map { ($0.key, $0) })

  /// All of them by environment variable.
  static let byEnvironmentName: [String: any SettingDescription] = Dictionary(
    uniqueKeysWithValues: all.map { ($0.environmentName, $0) })

  /// The environment variable that names the file when the command line does not.
  package static let fileEnvironmentName = "MID_CONFIG"
}
