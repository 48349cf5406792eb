import MidServer
import NIOCore
import NIOPosix

/// A server's page of metrics, read from outside.
struct MetricsPage {
  /// The most of a page that is looked at, in bytes.
  private static let maximum = 64 * 1024 * 1024

  /// One line: a series and its value.
  struct Series: Equatable {
    var name: Substring
    var labels: [Substring: String]
    var value: Double
  }

  /// The series, in the page's order.
  let series: [Series]

  /// Reads the text format. Lines that are none of a series are left out.
  init(_ text: String) {
    self.series = text.split(whereSeparator: \.isNewline).compactMap(Self.read)
  }

  /// The text of `/metrics` with the answer's headers in front.
  ///
  /// - Throws: the socket's error.
  static func text(from address: HostPort, timeout: Duration) async throws -> String {
    try await self.text(of: "/metrics", from: address, timeout: timeout)
  }

  /// The same of another path.
  static func text(of path: String, from address: HostPort, timeout: Duration) async throws -> String {
    let connection = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .connectTimeout(TimeAmount(timeout))
      .connect(host: address.host, port: address.port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    let channel = connection.channel
    let timer = channel.eventLoop.scheduleTask(in: TimeAmount(timeout)) { channel.close(promise: nil) }
    defer { timer.cancel() }
    return try await connection.executeThenClose { inbound, outbound in
      try await outbound.write(
        ByteBuffer(string: "GET \(path) HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n\r\n"))
      var page = ByteBuffer()
      for try await part in inbound {
        page.writeImmutableBuffer(part)
        if page.readableBytes >= Self.maximum { break }
      }
      return String(buffer: page)
    }
  }

  private static func read(_ line: Substring) -> Series? {
    guard let space = line.lastIndex(of: " "), let value = Double(line[line.index(after: space)...]) else { return nil }
    let head = line[..<space]
    guard let brace = head.firstIndex(of: "{") else { return Series(name: head, labels: [:], value: value) }
    guard let labels = self.labels(head[head.index(after: brace)...]) else { return nil }
    return Series(name: head[..<brace], labels: labels, value: value)
  }

  /// `name="text",…}` with the format's three escapes.
  private static func labels(_ text: Substring) -> [Substring: String]? {
    var labels: [Substring: String] = [:]
    var rest = text
    while rest.first != "}" {
      guard let equals = rest.firstIndex(of: "=") else { return nil }
      let name = rest[..<equals]
      rest = rest[rest.index(after: equals)...]
      guard rest.popFirst() == "\"" else { return nil }
      var value = ""
      while let character = rest.popFirst(), character != "\"" {
        guard character == "\\" else {
          value.append(character)
          continue
        }
        guard let escaped = rest.popFirst() else { return nil }
        value.append(escaped == "n" ? "\n" : escaped)
      }
      labels[name] = value
      if rest.first == "," { rest.removeFirst() }
      if rest.isEmpty { return nil }
    }
    return labels
  }
}
