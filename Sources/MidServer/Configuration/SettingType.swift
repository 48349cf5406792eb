import Logging
import MidCore
import MidRPC

/// How one kind of setting is read from text.
package struct SettingType<Value: Sendable & Equatable>: Sendable {
  /// What is allowed, as the end of the sentence "allowed: …".
  package let allowed: String
  /// Whether the text must never be shown.
  let isSecret: Bool
  /// Reads the text, or returns nil where it is not allowed.
  let parse: @Sendable (String) -> Value?
  /// Removes what may be secret from a text that is shown in an error.
  let redact: @Sendable (String) -> String
  /// Says what is wrong with a text that is not allowed, where that does not show; else nil.
  let explain: @Sendable (String) -> String?

  init(
    allowed: String, isSecret: Bool = false, redact: @escaping @Sendable (String) -> String = { $0 },
    explain: @escaping @Sendable (String) -> String? = { _ in nil },
    parse: @escaping @Sendable (String) -> Value?
  ) {
    self.allowed = allowed
    self.isSecret = isSecret
    self.redact = redact
    self.explain = explain
    self.parse = parse
  }

  /// `type` where an empty text stands for "not set".
  static func optional<Wrapped>(_ type: SettingType<Wrapped>) -> SettingType<Wrapped?> where Value == Wrapped? {
    SettingType<Wrapped?>(allowed: type.allowed, isSecret: type.isSecret, redact: type.redact) { text in
      guard !text.isEmpty else { return .some(nil) }
      return type.parse(text).map { .some($0) }
    }
  }
}

extension SettingType where Value == Int {
  /// A decimal integer within bounds.
  static func integer(_ range: ClosedRange<Int>) -> SettingType {
    SettingType(allowed: "an integer from \(range.lowerBound) to \(range.upperBound)") { text in
      guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let value = Int(text) else { return nil }
      return range.contains(value) ? value : nil
    }
  }
}

extension SettingType where Value == WorkerSource {
  /// A worker number, or where it comes from.
  static let workerID: SettingType = {
    let number = SettingType<Int>.integer(0...65_535)
    return SettingType(
      allowed: "\(number.allowed), ordinal (the number at the end of the host's name), or leased"
    ) { text in
      switch text {
      case "leased": .leased
      case "ordinal": .ordinal
      default: number.parse(text).map { .number($0) }
      }
    }
  }()
}

extension SettingType where Value == ClosedRange<Int> {
  /// The first and the last of some worker numbers.
  static let workerRange: SettingType = {
    let number = SettingType<Int>.integer(0...65_535)
    return SettingType(allowed: "LOW..HIGH from 0 to 65535, both included, like 512..1023") { text in
      let ends = text.split(separator: ".", omittingEmptySubsequences: false)
      guard ends.count == 3, ends[1].isEmpty else { return nil }
      guard let low = number.parse(String(ends[0])), let high = number.parse(String(ends[2])), low <= high else {
        return nil
      }
      return low...high
    }
  }()
}

extension SettingType where Value == Bool {
  /// A switch.
  static let onOff = SettingType(allowed: "on or off") { text in
    switch text {
    case "on": true
    case "off": false
    default: nil
    }
  }
}

extension SettingType where Value == Double {
  /// A decimal fraction within bounds.
  static func fraction(_ range: ClosedRange<Double>) -> SettingType {
    SettingType(allowed: "a number from \(range.lowerBound) to \(range.upperBound)") { text in
      guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2E }), let value = Double(text) else {
        return nil
      }
      return range.contains(value) ? value : nil
    }
  }
}

extension SettingType where Value == Duration {
  /// A whole number with its unit, within bounds.
  static func duration(_ range: ClosedRange<Duration>) -> SettingType {
    let bounds = "\(range.lowerBound.configurationText) to \(range.upperBound.configurationText)"
    return SettingType(allowed: "a duration from \(bounds), written like 250ms, 3s, 10m or 1h") { text in
      guard let value = Duration(configurationText: text) else { return nil }
      return range.contains(value) ? value : nil
    }
  }
}

extension SettingType where Value == Duration? {
  /// A duration within bounds, or `off`.
  static func durationOrOff(_ range: ClosedRange<Duration>) -> SettingType {
    let duration = SettingType<Duration>.duration(range)
    return SettingType(allowed: "\(duration.allowed), or off") { text in
      text == "off" ? .some(nil) : duration.parse(text).map { .some($0) }
    }
  }
}

extension SettingType where Value == HostPort {
  /// An address to listen on.
  static let address = SettingType(
    allowed: "HOST:PORT with a port from 0 to 65535 (0 takes a free one), an IPv6 host in brackets"
  ) { HostPort($0) }
}

extension SettingType where Value == HostPort? {
  /// An address to listen on, or `off`.
  static let addressOrOff = SettingType(allowed: "\(SettingType<HostPort>.address.allowed), or off") { text in
    guard text != "off" else { return .some(nil) }
    return HostPort(text).map { .some($0) }
  }
}

extension SettingType where Value == [HostPort] {
  /// A list of servers with a default port.
  static func servers(defaultPort: Int, atMost count: Int) -> SettingType {
    SettingType(
      allowed: "up to \(count) of HOST or HOST:PORT, separated by commas or as a YAML list, an IPv6 host in brackets"
    ) { text in
      guard !text.isEmpty else { return [] }
      var servers: [HostPort] = []
      for part in text.split(separator: ",", omittingEmptySubsequences: false) {
        guard let server = HostPort(part.trimmingSpaces(), defaultPort: defaultPort), server.port > 0 else {
          return nil
        }
        servers.append(server)
      }
      return servers.count <= count ? servers : nil
    }
  }
}

extension SettingType where Value == String {
  /// The path of a folder.
  static let folder = SettingType(allowed: "the path of a folder") { text in
    text.isEmpty || text.utf8.contains(0) ? nil : text
  }
}

extension SettingType where Value == String {
  /// The path of a file.
  static let file = SettingType(allowed: "the path of a file") { text in
    text.isEmpty || text.utf8.contains(0) ? nil : text
  }
}

extension SettingType where Value == RPCTLS.ClientCertificates {
  /// Whether clients show certificates.
  static let clientCertificates = SettingType(
    allowed: "one of \(RPCTLS.ClientCertificates.allCases.map(\.rawValue).joined(separator: ", "))"
  ) { RPCTLS.ClientCertificates(rawValue: $0) }
}

extension SettingType where Value == RPCTLS.Version {
  /// A version of TLS.
  static let tlsVersion = SettingType(
    allowed: "one of \(RPCTLS.Version.allCases.map(\.rawValue).joined(separator: ", "))"
  ) { RPCTLS.Version(rawValue: $0) }
}

extension SettingType where Value == SnowflakeLayout {
  /// A preset of the layout, by its name.
  static let layout = SettingType(
    allowed: "one of \(SnowflakeLayout.presets.keys.sorted().joined(separator: ", "))"
  ) { SnowflakeLayout.presets[$0] }
}

extension SettingType where Value == TableDialect.Kind {
  /// Whose table of tags it is.
  static let tableKind = SettingType(
    allowed: "one of \(TableDialect.Kind.named.map(\.rawValue).joined(separator: ", "))"
  ) { name in TableDialect.Kind.named.first { $0.rawValue == name } }
}

extension SettingType where Value == String {
  /// The name of a table or column.
  static let tableName = SettingType(
    allowed: "1 to \(TableDialect.maximumNameLength) letters, digits, _, - or $"
  ) { TableDialect.isName($0) ? $0 : nil }
}

extension SettingType where Value == Logger.Level {
  /// A log level of swift-log.
  static let logLevel = SettingType(
    allowed: "one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))"
  ) { Logger.Level(rawValue: $0) }
}

extension SettingType where Value == LogFormat {
  /// How log lines look.
  static let logFormat = SettingType(
    allowed: "one of \(LogFormat.allCases.map(\.rawValue).joined(separator: ", "))"
  ) { LogFormat(rawValue: $0) }
}

extension SettingType where Value == UUID7Increment {
  /// How UUIDs of version 7 go on within a millisecond.
  static let uuid7Increment = SettingType(
    allowed: "one of \(UUID7Increment.allCases.map(\.rawValue).joined(separator: ", "))"
  ) { UUID7Increment(rawValue: $0) }
}

extension SettingType where Value == StoreLocation {
  /// A store's URL.
  static let store = SettingType(
    allowed: "sqlite:PATH or mysql://USER@HOST[:PORT]/DATABASE[?tls=required]", redact: StoreLocation.redacted
  ) { StoreLocation($0) }
}

extension SettingType where Value == Secret {
  /// A text that is never shown.
  static let secret = SettingType(
    allowed: "any text", isSecret: true, redact: { _ in "<secret>" }, parse: { Secret($0) })
}

extension StringProtocol {
  /// The text without the spaces and tabs at its ends.
  func trimmingSpaces() -> String {
    let start = self.drop { $0 == " " || $0 == "\t" }
    guard let end = start.lastIndex(where: { $0 != " " && $0 != "\t" }) else { return "" }
    return String(start[...end])
  }
}
