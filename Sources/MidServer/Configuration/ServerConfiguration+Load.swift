import Configuration

extension ServerConfiguration {
  /// Reads the configuration: flags win over `MID_…` variables, those over the file, that over the defaults.
  ///
  /// - Parameters:
  ///   - flags: What the command line gave, by setting key (`grpc.address`), as text.
  ///   - environment: The process's environment. Only names that start with `MID_` are looked at.
  ///   - file: A file's name, for messages, and its text, or nil.
  /// - Throws: Every error there is in any of the sources, also in values that another source overrides.
  package static func load(
    flags: [String: String] = [:], environment: [String: String] = [:], file: (name: String, text: String)? = nil
  ) throws(ConfigurationErrors) -> ServerConfiguration {
    var errors: [ConfigurationError] = []
    let flagSource = ConfigurationSource.flags(flags, &errors)
    let environmentSource = ConfigurationSource.environment(environment, &errors)
    let fileSource = file.map { ConfigurationSource.yaml($0.text, name: $0.name, &errors) }
    for source in [flagSource, environmentSource, fileSource].compactMap({ $0 }) {
      source.checkValues(&errors)
    }
    guard errors.isEmpty else { throw ConfigurationErrors(errors) }

    let reader = ConfigReader(
      providers: [
        InMemoryProvider(name: "flags", values: flagSource.providerValues),
        EnvironmentVariablesProvider(
          environmentVariables: environment.filter { Settings.byEnvironmentName[$0.key] != nil },
          secretsSpecifier: .dynamic { name, _ in Settings.byEnvironmentName[name]?.isSecret ?? true }
        ).prefixKeys(with: "mid"),
        InMemoryProvider(name: "file", values: fileSource?.providerValues ?? [:]),
      ])
    let configuration = try ServerConfiguration(SettingReader(reader: reader))
    let conflicts = configuration.conflicts()
    guard conflicts.isEmpty else { throw ConfigurationErrors(conflicts) }
    return configuration
  }

  private init(_ settings: SettingReader) throws(ConfigurationErrors) {
    self.init(
      store: Store(
        location: try settings(Settings.storeURL), password: try settings(Settings.storePassword),
        connections: try settings(Settings.storeConnections),
        timeout: try settings(Settings.storeTimeout), requireSemiSync: try settings(Settings.storeRequireSemiSync)),
      table: Table(
        kind: try settings(Settings.tableDialect), name: try settings(Settings.tableName),
        tagColumn: try settings(Settings.tableTagColumn), maxColumn: try settings(Settings.tableMaxColumn),
        stepColumn: try settings(Settings.tableStepColumn), updatedColumn: try settings(Settings.tableUpdatedColumn),
        versionColumn: try settings(Settings.tableVersionColumn), beginColumn: try settings(Settings.tableBeginColumn),
        deltaColumn: try settings(Settings.tableDeltaColumn),
        remainderColumn: try settings(Settings.tableRemainderColumn)),
      dataDirectory: try settings(Settings.dataDirectory),
      grpc: GRPC(
        address: try settings(Settings.grpcAddress), eventLoops: try settings(Settings.grpcEventLoops),
        maxConnections: try settings(Settings.grpcMaxConnections), maxStreams: try settings(Settings.grpcMaxStreams),
        maxMessageBytes: try settings(Settings.grpcMaxMessageBytes),
        maxHeaderBytes: try settings(Settings.grpcMaxHeaderBytes),
        maxWindowBytes: try settings(Settings.grpcMaxWindowBytes),
        maxHeldBytes: try settings(Settings.grpcMaxHeldBytes),
        maxMemoryBytes: try settings(Settings.grpcMaxMemoryBytes),
        maxUnproductiveFrames: try settings(Settings.grpcMaxUnproductiveFrames),
        maxResets: try settings(Settings.grpcMaxResets),
        pingMinInterval: try settings(Settings.grpcPingMinInterval),
        pingStrikes: try settings(Settings.grpcPingStrikes),
        firstRequestTimeout: try settings(Settings.grpcFirstRequestTimeout),
        stuckTimeout: try settings(Settings.grpcStuckTimeout),
        keepaliveInterval: try settings(Settings.grpcKeepaliveInterval),
        keepaliveTimeout: try settings(Settings.grpcKeepaliveTimeout),
        idleTimeout: try settings(Settings.grpcIdleTimeout),
        connectionAge: try settings(Settings.grpcConnectionAge),
        reflection: try settings(Settings.grpcReflection),
        tls: TLS(
          certificate: try settings(Settings.grpcTLSCertificate), key: try settings(Settings.grpcTLSKey),
          clientCA: try settings(Settings.grpcTLSClientCA),
          clientCertificates: try settings(Settings.grpcTLSClientCertificates),
          minimumVersion: try settings(Settings.grpcTLSMinimumVersion),
          maxHandshakes: try settings(Settings.grpcTLSMaxHandshakes))),
      http: HTTP(
        address: try settings(Settings.httpAddress), maxConnections: try settings(Settings.httpMaxConnections),
        maxHeaderBytes: try settings(Settings.httpMaxHeaderBytes),
        maxBodyBytes: try settings(Settings.httpMaxBodyBytes),
        maxIDs: try settings(Settings.httpMaxIDs), maxMemoryBytes: try settings(Settings.httpMaxMemoryBytes),
        requestTimeout: try settings(Settings.httpRequestTimeout),
        minReadRate: try settings(Settings.httpMinReadRate),
        idleTimeout: try settings(Settings.httpIdleTimeout), tinyidAddress: try settings(Settings.httpTinyidAddress),
        tinyidTokens: try settings(Settings.httpTinyidTokens)),
      metricsAddress: try settings(Settings.metricsAddress),
      snowflake: Snowflake(
        workerID: try settings(Settings.workerID), workerRange: try settings(Settings.workerRange),
        datacenterID: try settings(Settings.datacenterID),
        layout: try settings(Settings.snowflakeLayout), maxAhead: try settings(Settings.snowflakeMaxAhead),
        sequenceJitter: try settings(Settings.snowflakeSequenceJitter),
        localBound: try settings(Settings.snowflakeLocalBound), lease: try settings(Settings.snowflakeLease),
        renewInterval: try settings(Settings.snowflakeRenewInterval)),
      segment: Segment(
        loadAt: try settings(Settings.segmentLoadAt), maxWaiters: try settings(Settings.segmentMaxWaiters),
        maxWait: try settings(Settings.segmentMaxWait), target: try settings(Settings.segmentTarget),
        maxLoad: try settings(Settings.segmentMaxLoad), outage: try settings(Settings.segmentOutage),
        tagRefresh: try settings(Settings.segmentTagRefresh), unused: try settings(Settings.segmentUnused)),
      databases: Databases(
        stripes: try settings(Settings.segmentStripes), shards: try settings(Settings.segmentShards),
        pins: try settings(Settings.segmentPins), timeout: try settings(Settings.segmentDatabaseTimeout)),
      ticket: Ticket(
        databases: try settings(Settings.ticketDatabases), tables: try settings(Settings.ticketTables),
        timeout: try settings(Settings.ticketTimeout), batchMax: try settings(Settings.ticketBatchMax)),
      batchMax: try settings(Settings.batchMax), uuid7Increment: try settings(Settings.uuid7Increment),
      forms: Forms(
        templates: try settings(Settings.textForms), opaqueTags: try settings(Settings.opaqueTags),
        keys: try settings(Settings.opaqueKeys), current: try settings(Settings.opaqueCurrent),
        slotBits: try settings(Settings.opaqueSlotBits)),
      clock: Clock(
        ntpServers: try settings(Settings.clockNTPServers), ntpInterval: try settings(Settings.clockNTPInterval),
        maxOffset: try settings(Settings.clockMaxOffset)),
      log: Log(level: try settings(Settings.logLevel), format: try settings(Settings.logFormat)),
      shutdownGrace: try settings(Settings.shutdownGrace)
    )
  }
}

/// Reads typed settings through swift-configuration, whose providers are in order of precedence.
private struct SettingReader {
  var reader: ConfigReader

  func callAsFunction<Value>(_ setting: Setting<Value>) throws(ConfigurationErrors) -> Value {
    let text = self.reader.string(
      forKey: ConfigKey(setting.key), isSecret: setting.isSecret, default: setting.defaultText)
    // Each source was checked before; only a default out of its own bounds can still fail, which a test rules out.
    guard let value = setting.type.parse(text) else {
      throw ConfigurationErrors([.notAllowed(text, for: setting, source: "default")])
    }
    return value
  }
}
