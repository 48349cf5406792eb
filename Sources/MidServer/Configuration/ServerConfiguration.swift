package import Logging
package import MidCore
package import MidRPC

/// Everything `mid serve` can be told, checked. ``Settings`` holds the defaults, the bounds and what each one does.
package struct ServerConfiguration: Sendable, Equatable {
  /// The store.
  package struct Store: Sendable, Equatable {
    /// `store.url`.
    package var location: StoreLocation
    /// `store.password`, which wins over one in the URL, or nil.
    package var password: Secret?
    /// `store.connections`.
    package var connections: Int
    /// `store.timeout`.
    package var timeout: Duration
    /// `store.require_semi_sync`.
    package var requireSemiSync: Bool
  }

  /// The gRPC lane.
  package struct GRPC: Sendable, Equatable {
    /// `grpc.address`.
    package var address: HostPort
    /// `grpc.event_loops`; 0 means one per core.
    package var eventLoops: Int
    /// `grpc.max_connections`.
    package var maxConnections: Int
    /// `grpc.max_streams`, per connection.
    package var maxStreams: Int
    /// `grpc.max_message_bytes`.
    package var maxMessageBytes: Int
    /// `grpc.max_header_bytes`.
    package var maxHeaderBytes: Int
    /// `grpc.max_window_bytes`, per connection.
    package var maxWindowBytes: Int
    /// `grpc.max_held_bytes`, per connection.
    package var maxHeldBytes: Int
    /// `grpc.max_memory_bytes`, over all connections.
    package var maxMemoryBytes: Int
    /// `grpc.max_unproductive_frames`, per connection in 15 s.
    package var maxUnproductiveFrames: Int
    /// `grpc.max_resets`, per connection in 15 s.
    package var maxResets: Int
    /// `grpc.ping_min_interval`.
    package var pingMinInterval: Duration
    /// `grpc.ping_strikes`.
    package var pingStrikes: Int
    /// `grpc.first_request_timeout`.
    package var firstRequestTimeout: Duration
    /// `grpc.stuck_timeout`.
    package var stuckTimeout: Duration
    /// `grpc.keepalive_interval`, or nil for `off`.
    package var keepaliveInterval: Duration?
    /// `grpc.keepalive_timeout`.
    package var keepaliveTimeout: Duration
    /// `grpc.idle_timeout`, or nil for `off`.
    package var idleTimeout: Duration?
    /// `grpc.connection_age`, or nil for `off`.
    package var connectionAge: Duration?
    /// `grpc.reflection`.
    package var reflection: Bool
    /// TLS.
    package var tls: TLS
  }

  /// TLS of the gRPC lane and of HTTP.
  package struct TLS: Sendable, Equatable {
    /// `grpc.tls.certificate`, or nil.
    package var certificate: String?
    /// `grpc.tls.key`, or nil. Given whenever ``certificate`` is.
    package var key: String?
    /// `grpc.tls.client_ca`, or nil.
    package var clientCA: String?
    /// `grpc.tls.client_certificates`.
    package var clientCertificates: RPCTLS.ClientCertificates
    /// `grpc.tls.minimum_version`.
    package var minimumVersion: RPCTLS.Version
    /// `grpc.tls.max_handshakes`.
    package var maxHandshakes: Int
  }

  /// The HTTP door.
  package struct HTTP: Sendable, Equatable {
    /// `http.address`, or nil for `off`.
    package var address: HostPort?
    /// `http.max_connections`.
    package var maxConnections: Int
    /// `http.max_header_bytes`.
    package var maxHeaderBytes: Int
    /// `http.max_body_bytes`.
    package var maxBodyBytes: Int
    /// `http.max_ids`.
    package var maxIDs: Int
    /// `http.max_memory_bytes`, over all connections of both ports.
    package var maxMemoryBytes: Int
    /// `http.request_timeout`.
    package var requestTimeout: Duration
    /// `http.min_read_rate`, in bytes a second.
    package var minReadRate: Int
    /// `http.idle_timeout`.
    package var idleTimeout: Duration
    /// `http.tinyid.address`, or nil for `off`.
    package var tinyidAddress: HostPort?
    /// `http.tinyid.tokens`.
    package var tinyidTokens: Bool
  }

  /// Snowflake ids.
  package struct Snowflake: Sendable, Equatable {
    /// `worker.id`. A number is within ``layout``; see ``wish(host:)``.
    package var workerID: WorkerSource
    /// `worker.range`, or nil where none is given. Within ``layout``.
    package var workerRange: ClosedRange<Int>?
    /// `datacenter.id`, or nil where none is given. Within ``layout``.
    package var datacenterID: Int?
    /// `snowflake.layout`: the preset of that name.
    package var layout: SnowflakeLayout
    /// `snowflake.max_ahead`.
    package var maxAhead: Duration
    /// `snowflake.sequence_jitter`, the number of possible first sequences of a tick; 1 is no jitter.
    package var sequenceJitter: Int
    /// `snowflake.local_bound`.
    package var localBound: Duration
    /// `snowflake.lease`.
    package var lease: Duration
    /// `snowflake.renew_interval`, at most a third of ``lease``.
    package var renewInterval: Duration
  }

  /// Segment ids.
  package struct Segment: Sendable, Equatable {
    /// `segment.load_at`, a used share of the serving segment.
    package var loadAt: Double
    /// `segment.max_waiters`, per tag.
    package var maxWaiters: Int
    /// `segment.max_wait`.
    package var maxWait: Duration
    /// `segment.target`.
    package var target: Duration
    /// `segment.max_load`.
    package var maxLoad: Int
    /// `segment.outage`; zero for none.
    package var outage: Duration
    /// `segment.tag_refresh`.
    package var tagRefresh: Duration
    /// `segment.unused`, or nil for `off`.
    package var unused: Duration?
  }

  /// Tickets.
  package struct Ticket: Sendable, Equatable {
    /// `ticket.databases`, all of the MySQL family; empty for the store's own database.
    package var databases: [StoreLocation]
    /// `ticket.tables`.
    package var tables: [Tag: TicketTable]
    /// `ticket.timeout`.
    package var timeout: Duration
    /// `ticket.batch_max`.
    package var batchMax: Int
  }

  /// How ids look outside.
  package struct Forms: Sendable, Equatable {
    /// `text.forms`.
    package var templates: [Tag: TextTemplate]
    /// `opaque.tags`: how many bits the numbers of each have, 63 or 53.
    package var opaqueTags: [Tag: Int]
    /// `opaque.keys`, by slot.
    package var keys: [Int: OpaqueKeyReference]
    /// `opaque.current`, or nil where it is not given.
    package var current: Int?
    /// `opaque.slot_bits`.
    package var slotBits: Int
  }

  /// The clock's health.
  package struct Clock: Sendable, Equatable {
    /// `clock.ntp.servers`; empty turns NTP off.
    package var ntpServers: [HostPort]
    /// `clock.ntp.interval`.
    package var ntpInterval: Duration
    /// `clock.max_offset`.
    package var maxOffset: Duration
  }

  /// The log.
  package struct Log: Sendable, Equatable {
    /// `log.level`.
    package var level: Logger.Level
    /// `log.format`.
    package var format: LogFormat
  }

  /// The store.
  package var store: Store
  /// The table of tags in it.
  package var table: Table
  /// `data.directory`.
  package var dataDirectory: String
  /// The gRPC lane.
  package var grpc: GRPC
  /// The HTTP door.
  package var http: HTTP
  /// `metrics.address`, or nil for `off`.
  package var metricsAddress: HostPort?
  /// Snowflake ids.
  package var snowflake: Snowflake
  /// Segment ids.
  package var segment: Segment
  /// Several databases of segments.
  package var databases: Databases
  /// Tickets.
  package var ticket: Ticket
  /// `batch.max`.
  package var batchMax: Int
  /// `uuid7.increment`.
  package var uuid7Increment: UUID7Increment
  /// How ids look outside.
  package var forms: Forms
  /// The clock's health.
  package var clock: Clock
  /// The log.
  package var log: Log
  /// `shutdown.grace`.
  package var shutdownGrace: Duration
}
