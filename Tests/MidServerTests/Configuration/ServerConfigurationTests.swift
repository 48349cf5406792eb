import Logging
import MidCore
import MidServer
import Testing

@Suite struct ServerConfigurationTests {
  private func errors(
    flags: [String: String] = [:], environment: [String: String] = [:], yaml: String? = nil
  ) -> [String] {
    do throws(ConfigurationErrors) {
      _ = try ServerConfiguration.load(
        flags: flags, environment: environment, file: yaml.map { ("mid.yaml", $0) })
      return []
    } catch {
      return error.errors.map(\.description)
    }
  }

  @Test func everyDefaultIsAllowedAndAsDocumented() throws {
    let configuration = try ServerConfiguration.load()
    #expect(configuration.store.location == .sqlite(path: "./mid-data/mid.db"))
    #expect(configuration.store.connections == 2)
    #expect(configuration.store.timeout == .seconds(5))
    #expect(configuration.dataDirectory == "./mid-data")
    #expect(configuration.grpc.address == HostPort(host: "127.0.0.1", port: 50_051))
    #expect(configuration.grpc.eventLoops == 0)
    #expect(configuration.grpc.maxConnections == 10_000)
    #expect(configuration.grpc.maxStreams == 1_000)
    #expect(configuration.grpc.maxMessageBytes == 65_536)
    #expect(configuration.grpc.maxHeaderBytes == 16_384)
    #expect(!configuration.grpc.tls.isOn)
    #expect(configuration.grpc.tls.settings == nil)
    #expect(configuration.metricsAddress == HostPort(host: "127.0.0.1", port: 9_190))
    #expect(configuration.snowflake.workerID == .leased && configuration.snowflake.workerRange == nil)
    #expect(configuration.snowflake.datacenterID == nil)
    #expect(configuration.snowflake.layout == .original)
    #expect(configuration.snowflake.maxAhead == .seconds(1))
    #expect(configuration.snowflake.sequenceJitter == 100)
    #expect(configuration.snowflake.localBound == .seconds(3))
    #expect(configuration.snowflake.lease == .seconds(600))
    #expect(configuration.snowflake.renewInterval == .seconds(10))
    #expect(configuration.segment.loadAt == 0.1)
    #expect(configuration.segment.maxWaiters == 10_000)
    #expect(configuration.segment.maxWait == .seconds(3))
    #expect(configuration.segment.tagRefresh == .seconds(60))
    #expect(configuration.segment.unused == .seconds(3600))
    #expect(configuration.batchMax == 1_000_000)
    #expect(configuration.uuid7Increment == .counter)
    #expect(configuration.clock.ntpServers.isEmpty)
    #expect(configuration.clock.ntpInterval == .seconds(60))
    #expect(configuration.clock.maxOffset == .seconds(1))
    #expect(configuration.log.level == .info)
    #expect(configuration.log.format == .auto)
    #expect(configuration.shutdownGrace == .seconds(10))
    for setting in Settings.all {
      #expect(setting.accepts(setting.defaultText), "\(setting.key)")
    }
  }

  @Test func flagsWinOverTheEnvironmentAndThatOverTheFile() throws {
    let yaml = "grpc:\n  address: 127.0.0.1:1\n  max_streams: 7\nbatch.max: 9\n"
    let environment = ["MID_GRPC_ADDRESS": "127.0.0.1:2", "MID_GRPC_MAX_STREAMS": "8", "PATH": "/bin"]
    let configuration = try ServerConfiguration.load(
      flags: ["grpc.address": "127.0.0.1:3"], environment: environment, file: ("mid.yaml", yaml))
    #expect(configuration.grpc.address.port == 3)
    #expect(configuration.grpc.maxStreams == 8)
    #expect(configuration.batchMax == 9)
  }

  @Test(arguments: Settings.all.map(\.key))
  func everySettingIsReadFromItsVariable(key: String) throws {
    let setting = try #require(Settings.all.first { $0.key == key })
    // Any text is a folder, a file or a password.
    let paths = ["data.directory", "grpc.tls.certificate", "grpc.tls.key", "grpc.tls.client_ca"]
    guard !setting.isSecret, !paths.contains(key) else { return }
    // Any text but this one is a list of tags, and what may be a key is not shown.
    let bad = key == "opaque.tags" ? "=" : "%"
    let shown = key == "opaque.keys" ? "<hidden>" : bad
    let found = self.errors(environment: [setting.environmentName: bad])
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix("\(setting.environmentName): \(key): '\(shown)' is not allowed") == true)
    #expect(found.first?.contains("; allowed: ") == true)
  }

  @Test func everyErrorOfEverySourceIsToldAtOnce() {
    let yaml = """
      grpc:
        adress: 127.0.0.1:1
        max_streams: many
      batch:
        max: 0
      nonsense: 1
      000102030405060708090a0b0c0d0e0f: x
      """
    let found = self.errors(
      flags: ["metrics.address": "here", "grpc.address": "1:2:3"],
      environment: ["MID_BATCH_MAXX": "5", "MID_LOG_LEVEL": "loud"], yaml: yaml)
    #expect(
      found == [
        "environment: MID_BATCH_MAXX: no such variable; did you mean MID_BATCH_MAX?",
        "mid.yaml:2: grpc.adress: no such setting; did you mean grpc.address?",
        "mid.yaml:6: nonsense: no such setting",
        "mid.yaml:7: <hidden>: no such setting",
        "--grpc: grpc.address: '1:2:3' is not allowed; allowed: HOST:PORT with a port from 0 to 65535 (0 takes a free "
          + "one), an IPv6 host in brackets",
        "--metrics: metrics.address: 'here' is not allowed; allowed: HOST:PORT with a port from 0 to 65535 (0 takes a "
          + "free one), an IPv6 host in brackets, or off",
        "MID_LOG_LEVEL: log.level: 'loud' is not allowed; allowed: one of trace, debug, info, notice, warning, error, "
          + "critical",
        "mid.yaml:3: grpc.max_streams: 'many' is not allowed; allowed: an integer from 1 to 100000",
        "mid.yaml:5: batch.max: '0' is not allowed; allowed: an integer from 1 to 1000000",
      ])
  }

  @Test func aKeyGivenTwiceIsAnError() {
    #expect(
      self.errors(yaml: "batch:\n  max: 1\n  max: 2\n") == ["mid.yaml:2: max: given twice in one mapping"])
    #expect(self.errors(yaml: "batch:\n  max: 1\nbatch.max: 2\n") == ["mid.yaml:3: batch.max: given twice"])
  }

  @Test(arguments: [
    ("- a\n", "mid.yaml:1: the file must be a mapping of settings"),
    ("grpc: 5\n", "mid.yaml:1: grpc: this is a group of settings, not a value: grpc.address, "),
    ("batch.max:\n", "mid.yaml:1: batch.max: has no value; allowed: "),
    ("batch.max: {a: 1}\n", "mid.yaml:1: batch.max: must be a value; allowed: "),
    ("a: [1\n", "mid.yaml:2: not valid YAML: "),
    ("? [x]\n: 1\n", "mid.yaml:1: keys must be plain names"),
  ])
  func aFileOfTheWrongShapeIsAnError(yaml: String, message: String) {
    let found = self.errors(yaml: yaml)
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix(message) == true, "\(found)")
  }

  @Test func anEmptyFileOrOneOfCommentsChangesNothing() throws {
    let defaults = try ServerConfiguration.load()
    #expect(try ServerConfiguration.load(file: ("mid.yaml", "")) == defaults)
    #expect(try ServerConfiguration.load(file: ("mid.yaml", "# nothing\n")) == defaults)
  }

  @Test func secretsAreNeverShown() throws {
    let configuration = try ServerConfiguration.load(
      environment: [
        "MID_STORE_URL": "mysql://mid:hunter2@db:3306/ids", "MID_STORE_PASSWORD": "swordfish",
      ])
    var dumped = ""
    dump(configuration, to: &dumped)
    #expect(!dumped.contains("hunter2") && !dumped.contains("swordfish"))
    #expect(!"\(configuration)".contains("swordfish") && !String(reflecting: configuration).contains("swordfish"))
    #expect(configuration.store.password?.reveal() == "swordfish")
    #expect(configuration.store.location == .mysql(url: Secret("mysql://mid:hunter2@db:3306/ids")))
    #expect(configuration.store.location.description == "mysql://mid@db:3306/ids")

    for url in ["mysql://mid:hunter2@db:3306", "postgres://mid:hunter2@db/ids", "mysql://mid:hun/ter2@x@db"] {
      let found = self.errors(environment: ["MID_STORE_URL": url])
      #expect(found.count == 1)
      #expect(found.first?.contains("ter2") == false, "\(found)")
    }
    // A snippet of a broken file would show what stands around the error.
    #expect(self.errors(yaml: "store: {password: swordfish\n").first?.contains("swordfish") == false)
  }

  @Test func aPasswordOnTheCommandLineIsRefused() {
    #expect(
      self.errors(flags: ["store.password": "swordfish"]) == [
        "--set store.password: store.password: a password on the command line can be read by other users; use "
          + "MID_STORE_PASSWORD or the file"
      ])
    #expect(self.errors(flags: ["store.url": "mysql://mid:hunter2@db/ids"]).first?.hasPrefix("--store: ") == true)
    #expect(self.errors(flags: ["store.url": "mysql://mid@db/ids"]).isEmpty)
  }

  @Test func renewingTooSeldomForTheLeaseIsRefused() {
    let found = self.errors(flags: ["snowflake.lease": "30s", "snowflake.renew_interval": "11s"])
    #expect(found.count == 1)
    #expect(found.first?.contains("more than a third of snowflake.lease, 30s") == true)
    #expect(self.errors(flags: ["snowflake.lease": "30s", "snowflake.renew_interval": "10s"]).isEmpty)
    let ahead = self.errors(flags: ["snowflake.max_ahead": "2001ms"])
    #expect(ahead.first?.contains("more than two thirds of snowflake.local_bound, 3s") == true)
    #expect(self.errors(flags: ["snowflake.max_ahead": "2s"]).isEmpty)
  }

  @Test(arguments: [
    (["worker.id": "1024"], "settings: worker.id: does not fit snowflake.layout: the worker id is 0 to 1023, not 1024"),
    (
      ["worker.range": "512..1024"], "settings: worker.range: does not fit snowflake.layout: worker ids are 0 to 1023"
    ),
    (
      ["worker.range": "512..1023", "worker.id": "ordinal"],
      "settings: worker.range: is for worker ids that are leased, and worker.id is not leased"
    ),
    (
      ["worker.range": "32..40", "datacenter.id": "1"],
      "settings: worker.range: says which worker ids may be leased, and so does datacenter.id"
    ),
    (
      ["worker.id": "32", "datacenter.id": "3"],
      "settings: worker.id: does not fit snowflake.layout: the machine id is 0 to 31, not 32"
    ),
    (
      ["datacenter.id": "1", "snowflake.layout": "sonyflake"],
      "settings: datacenter.id: does not fit snowflake.layout: the datacenter id is 0 to 0, not 1"
    ),
    (
      ["snowflake.sequence_jitter": "257", "snowflake.layout": "javascript"],
      "settings: snowflake.sequence_jitter: 257 is more than the layout's 256 sequences of a tick"
    ),
  ])
  func whatTheLayoutHasNoBitsForIsRefused(flags: [String: String], message: String) {
    #expect(self.errors(flags: flags) == [message])
  }

  @Test func theWorkerIDIsOneNumberOrTwoParts() throws {
    func wish(_ flags: [String: String], host: String = "here") throws -> WorkerWish {
      try ServerConfiguration.load(flags: flags).snowflake.wish(host: host)
    }
    #expect(try wish([:]) == .any(0...1023))
    #expect(try wish(["worker.range": "512..1023"]) == .any(512...1023))
    #expect(try wish(["datacenter.id": "2"]) == .any(64...95))
    #expect(try wish(["worker.id": "1023"]) == .fixed(1_023))
    #expect(try wish(["worker.id": "1", "datacenter.id": "2"]) == .fixed(65))
    #expect(try wish(["worker.id": "65535", "snowflake.layout": "sonyflake"]) == .fixed(65_535))
    #expect(try wish(["worker.id": "ordinal"], host: "mid-17") == .fixed(17))
    #expect(try wish(["worker.id": "ordinal", "datacenter.id": "2"], host: "mid-1.mid.svc.local") == .fixed(65))
    let none = #expect(throws: IDError.self) { try wish(["worker.id": "ordinal"], host: "mid") }
    #expect(none?.code == .invalidArgument && none?.message.contains("'mid', does not end with a number") == true)
    let large = #expect(throws: IDError.self) { try wish(["worker.id": "ordinal"], host: "mid-1024") }
    #expect(large?.message.contains("the worker id is 0 to 1023, not 1024") == true)
  }

  @Test func listsComeFromCommasOrFromYAML() throws {
    let expected = [HostPort(host: "a", port: 123), HostPort(host: "::1", port: 11_123)]
    let text = try ServerConfiguration.load(environment: ["MID_CLOCK_NTP_SERVERS": "a, [::1]:11123"])
    #expect(text.clock.ntpServers == expected)
    let yaml = try ServerConfiguration.load(
      file: ("mid.yaml", "clock:\n  ntp:\n    servers:\n      - a\n      - '[::1]:11123'\n"))
    #expect(yaml.clock.ntpServers == expected)
  }

  @Test func metricsCanBeTurnedOffAndIDsGiven() throws {
    let configuration = try ServerConfiguration.load(
      flags: ["metrics.address": "off", "worker.id": "0", "datacenter.id": "31"])
    #expect(configuration.metricsAddress == nil)
    #expect(configuration.snowflake.workerID == .number(0))
    #expect(configuration.snowflake.datacenterID == 31)
  }

  @Test func aFileThatCanNotBeReadIsToldTogetherWithTheRest() {
    do throws(ConfigurationErrors) {
      _ = try ServerConfiguration.load(
        flags: [:], environment: ["MID_CONFIG": "/nowhere/mid.yaml", "MID_LOG_FORMAT": "xml"], filePath: nil)
      Issue.record("loaded")
    } catch {
      #expect(error.errors.count == 2)
      #expect(error.errors.last?.description == "/nowhere/mid.yaml: no such file")
    }
  }
}

@Suite("The environment")
struct KubernetesEnvironmentTests {
  @Test(arguments: [
    "MID_SERVICE_HOST", "MID_SERVICE_PORT", "MID_SERVICE_PORT_GRPC", "MID_GRPC_SERVICE_HOST", "MID_PORT",
    "MID_PORT_50051_TCP", "MID_PORT_50051_TCP_ADDR", "MID_PORT_50051_TCP_PORT", "MID_PORT_50051_TCP_PROTO",
    "MID_GRPC_PORT_50051_TCP_PORT",
  ])
  func `of a pod beside a Service called mid is no error`(_ name: String) throws {
    _ = try ServerConfiguration.load(environment: [name: "tcp://10.0.0.1:50051"])
  }

  @Test(arguments: [
    "MID_PORTS", "MID_PORT_TCP", "MID_PORT_50051", "MID_SERVICE", "MID_SERVICE_HOSTS", "MID_GRPC_ADRESS",
  ])
  func `with a name that is nearly one is`(_ name: String) {
    #expect(throws: ConfigurationErrors.self) { try ServerConfiguration.load(environment: [name: "x"]) }
  }
}
