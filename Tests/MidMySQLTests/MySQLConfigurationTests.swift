import MidCore
import Testing

@testable import MidMySQL

@Suite struct MySQLConfigurationTests {
  @Test func `a full URL is read`() throws {
    let read = try MySQLConfiguration(
      url: "mysql://o%40ps:p%3A%2F%25%20w@db.example:3307/ids%2Fx?tls=verify&ca=/etc/ca%20x.pem&connections=4")
    #expect(read.user == "o@ps")
    #expect(read.password == "p:/% w")
    #expect(read.host == "db.example")
    #expect(read.port == 3307)
    #expect(read.database == "ids/x")
    #expect(read.tls == .verify)
    #expect(read.certificateAuthority == "/etc/ca x.pem")
    #expect(read.connections == 4)
    #expect(read.location == "db.example:3307/ids/x")
  }

  @Test func `what a URL leaves out has a default`() throws {
    let read = try MySQLConfiguration(url: "mysql://mid@localhost/ids")
    #expect(read == MySQLConfiguration(host: "localhost", database: "ids", user: "mid"))
    #expect(read.port == 3306)
    #expect(read.tls == .prefer)
  }

  @Test func `a password given by other means wins`() throws {
    #expect(try MySQLConfiguration(url: "mysql://mid:a@h/d", password: "b").password == "b")
    #expect(try MySQLConfiguration(url: "mysql://mid@h/d", password: "b").password == "b")
    #expect(try MySQLConfiguration(url: "mysql://mid:a@h/d", password: "").password == "")
  }

  @Test func `an unencoded at sign may stand in a password`() throws {
    let read = try MySQLConfiguration(url: "mysql://mid:p@ss:w@h:1/d")
    #expect(read.password == "p@ss:w")
    #expect(read.host == "h")
  }

  @Test func `an IPv6 address stands in brackets`() throws {
    let read = try MySQLConfiguration(url: "mysql://mid@[::1]:3307/d")
    #expect(read.host == "::1")
    #expect(read.port == 3307)
    #expect(read.location == "[::1]:3307/d")
    #expect(try MySQLConfiguration(url: "mysql://mid@[fe80::1]/d").port == 3306)
  }

  @Test(arguments: [
    "", "postgres://u:hunter2@h/d", "mysql://", "mysql://h/d", "mysql://u:hunter2@h", "mysql://u:hunter2@h/",
    "mysql://:hunter2@h/d", "mysql://u:hunter2@/d", "mysql://u:hunter2@h:0/d", "mysql://u:hunter2@h:65536/d",
    "mysql://u:hunter2@h:x/d", "mysql://u:hunter2@::1/d", "mysql://u:hunter2@[::1/d", "mysql://u:hunter2@[::1]3306/d",
    "mysql://u:hunter2%@h/d", "mysql://u:hunter2%4@h/d", "mysql://u:hunter2%zz@h/d", "mysql://u:hunter2%+1@h/d",
    "mysql://u:hunter2%ff@h/d", "mysql://u:hunter2%00@h/d", "mysql://u:hunter2@h/d?tls=maybe",
    "mysql://u:hunter2@h/d?ssl=1", "mysql://u:hunter2@h/d?connections=0", "mysql://u:hunter2@h/d?connections=65",
  ])
  func `a URL that can't be meant is refused, and the password not repeated`(_ url: String) {
    let error = #expect(throws: IDError.self) { try MySQLConfiguration(url: url) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains("hunter2") == false)
  }

  @Test func `no way of printing shows the password`() throws {
    let read = try MySQLConfiguration(url: "mysql://mid:hunter2@h/d")
    var dumped = ""
    dump(read, to: &dumped)
    for text in ["\(read)", String(reflecting: read), read.location, dumped, "\([read])", "\(Optional(read) as Any)"] {
      #expect(!text.contains("hunter2"))
    }
    #expect("\(read)" == "mysql://mid@h:3306/d?tls=prefer")
  }

  @Test func `timeouts are whole seconds, rounded up, at least one`() {
    let seconds = [Duration.zero, .milliseconds(1), .seconds(1), .milliseconds(1001), .seconds(5)].map(\.wholeSeconds)
    #expect(seconds == [1, 1, 1, 2, 5])
  }

  @Test func `waits between retries double up to their cap, with full jitter`() {
    var (longest, shortest) = (Backoff(), Backoff())
    let waits = (0..<8).map { _ in longest.next(1) / .milliseconds(1) }
    #expect(waits == [10, 20, 40, 80, 160, 320, 500, 500])
    #expect(shortest.next(0) == .zero)
    #expect(shortest.next(0.5) == .milliseconds(10))
  }
}
