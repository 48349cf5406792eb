import Testing

@testable import MidServer

@Suite struct SettingsTests {
  @Test func keysAndVariablesAreDistinct() {
    #expect(Set(Settings.all.map(\.key)).count == Settings.all.count)
    #expect(Set(Settings.all.map(\.environmentName)).count == Settings.all.count)
    let flags = Settings.all.compactMap(\.flag)
    #expect(Set(flags).count == flags.count)
  }

  @Test func helpAndTableNameEverySetting() {
    for setting in Settings.all {
      #expect(Settings.helpText.contains(setting.environmentName))
      #expect(Settings.markdownTable.contains("| `\(setting.key)` |"))
    }
    #expect(Settings.markdownTable.split(separator: "\n").count == Settings.all.count + 2)
  }

  @Test(arguments: [
    ("250ms", 250), ("3s", 3_000), ("10m", 600_000), ("1h", 3_600_000), ("0s", 0), ("1500ms", 1_500),
  ])
  func durationsAreReadWithTheirUnit(text: String, milliseconds: Int64) throws {
    let duration = try #require(Duration(configurationText: text))
    #expect(duration == .milliseconds(milliseconds))
    #expect(Duration(configurationText: duration.configurationText) == duration)
  }

  @Test(arguments: ["", "5", "s", "-1s", "1.5s", "1 s", "1d", "1S", "٣s", "9223372036854775807h"])
  func otherDurationsAreRefused(text: String) {
    #expect(Duration(configurationText: text) == nil)
  }

  @Test(arguments: [
    ("127.0.0.1:0", "127.0.0.1", 0), ("localhost:65535", "localhost", 65_535), ("[::1]:80", "::1", 80),
    ("[fe80::1%eth0]:1", "fe80::1%eth0", 1), ("my_host-1.example:5", "my_host-1.example", 5),
  ])
  func addressesAreRead(text: String, host: String, port: Int) {
    #expect(HostPort(text) == HostPort(host: host, port: port))
    #expect(HostPort(text)?.description == text)
  }

  @Test(arguments: [
    "", ":", ":80", "host", "host:", "host:65536", "host:-1", "host:+1", "host:8o", "::1:80", "[::1]", "[::1]80",
    "[host]:80", "[]:80", "[::1:80", "ho st:80", "http://host:80", "host:٣", "a,b:80",
  ])
  func otherAddressesAreRefused(text: String) {
    #expect(HostPort(text) == nil)
  }

  @Test func loopbackIsToldFromTheRest() {
    for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
      #expect(HostPort(host: host, port: 1).isLoopback)
    }
    for host in ["0.0.0.0", "::", "127.example.com", "10.0.0.1"] {
      #expect(!HostPort(host: host, port: 1).isLoopback)
    }
  }

  @Test func boundsAreInclusive() {
    #expect(Settings.grpcMaxStreams.accepts("1") && Settings.grpcMaxStreams.accepts("100000"))
    #expect(!Settings.grpcMaxStreams.accepts("0") && !Settings.grpcMaxStreams.accepts("100001"))
    #expect(!Settings.grpcMaxStreams.accepts("+5") && !Settings.grpcMaxStreams.accepts(""))
    #expect(Settings.segmentLoadAt.accepts("0.01") && Settings.segmentLoadAt.accepts("0.9"))
    #expect(!Settings.segmentLoadAt.accepts("0.91") && !Settings.segmentLoadAt.accepts("1e-1"))
    #expect(Settings.snowflakeLease.accepts("5s") && !Settings.snowflakeLease.accepts("4999ms"))
    #expect(Settings.workerID.accepts("leased") && Settings.workerID.accepts("ordinal"))
    #expect(Settings.workerID.accepts("0") && Settings.workerID.accepts("65535"))
    #expect(!Settings.workerID.accepts("65536") && !Settings.workerID.accepts(""))
    #expect(Settings.workerRange.accepts("") && Settings.workerRange.accepts("0..65535"))
    #expect(Settings.workerRange.accepts("7..7") && !Settings.workerRange.accepts("8..7"))
    for text in ["7", "7..", "..7", "1..65536", "1...7", "1..2..3"] { #expect(!Settings.workerRange.accepts(text)) }
    let servers = (1...16).map { "n\($0)" }.joined(separator: ",")
    #expect(Settings.clockNTPServers.accepts(servers) && !Settings.clockNTPServers.accepts(servers + ",n17"))
    #expect(!Settings.clockNTPServers.accepts("a,,b") && !Settings.clockNTPServers.accepts("a:0"))
  }

  @Test func storeURLsAreRead() {
    #expect(StoreLocation("sqlite:/var/mid.db") == .sqlite(path: "/var/mid.db"))
    for (url, shown, hasPassword) in [
      ("mysql://u:p:w@[::1]:3307/ids?tls=verify", "mysql://u@[::1]:3307/ids", true),
      ("mysql://u@db/ids", "mysql://u@db/ids", false), ("mysql://u:@db/ids", "mysql://u@db/ids", true),
    ] {
      let location = StoreLocation(url)
      #expect(location == .mysql(url: Secret(url)))
      #expect(location?.description == shown)
      #expect(location?.hasPassword == hasPassword)
    }
  }

  @Test(arguments: [
    "", "sqlite:", "sqlite:///a", "mysql://db/ids", "mysql://u@db", "mysql://u@db/", "mysql://@db/ids",
    "mysql:u@db/ids", "mysql://u@/ids", "mysql://u@db?x=/ids", "mysql://db/ids?x=u@db/", "postgres://u@db/ids",
  ])
  func otherStoreURLsAreRefused(text: String) {
    #expect(StoreLocation(text) == nil)
  }

  @Test func theNearestNameIsSuggestedAndNoFarOne() {
    #expect(Suggestion.distance("kitten", "sitting") == 3)
    #expect(Suggestion.distance("", "abc") == 3)
    #expect(Suggestion.nearest(to: "grpc.adress", in: Settings.all.map(\.key)) == "grpc.address")
    #expect(Suggestion.nearest(to: "nonsense", in: Settings.all.map(\.key)) == nil)
    #expect(Suggestion.nearest(to: "x", in: []) == nil)
  }
}
