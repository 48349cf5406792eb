import NIOHPACK

/// What a request's headers come to: where the call goes and how long its caller waits. Plain data.
struct RequestHead: Hashable {
  /// The index of the method, or one of the marks below.
  var route: Int32
  /// The body's length that `content-length` announces, -1 for none. gRPC clients send none.
  var contentLength: Int32 = -1
  /// The caller's timeout in nanoseconds, `UInt64.max` for none.
  var timeout: UInt64 = .max

  /// Whether the method's calls carry many messages. Set by whoever knows the methods.
  var isStreaming = false

  /// Breaks a rule of HTTP/2: the stream is reset.
  static let malformed: Int32 = -8
  /// CONNECT, which is answered HTTP status 405 at once: its client sends nothing before it has an answer. Source: RFC
  /// 9113, section 8.5. This mark and those below it never become a call.
  static let connect: Int32 = -7
  /// A path that no method has.
  static let unknownMethod: Int32 = -2
  /// Not gRPC: HTTP status 415.
  static let unsupportedMediaType: Int32 = -3
  /// Not POST: HTTP status 405.
  static let notPost: Int32 = -4
  /// A `grpc-timeout` that is none.
  static let badTimeout: Int32 = -5
  /// A body compressed in a way that this server does not know; it knows only `identity`.
  static let unknownCompression: Int32 = -6

  /// Judges decoded request headers. Sources: RFC 9113, sections 8.2 and 8.3; gRPC's `PROTOCOL-HTTP2.md`, "Requests".
  init(_ headers: HPACKHeaders, routes: [String: Int32]) {
    var fields = Fields()
    for (name, value, _) in headers {
      guard fields.take(name, value) else {
        self.route = Self.malformed
        return
      }
    }
    guard let method = fields.method, fields.areComplete else {
      self.route = Self.malformed
      return
    }
    self.route =
      if method == "CONNECT" {
        Self.connect
      } else if method != "POST" {
        Self.notPost
      } else if !fields.isGRPC {
        Self.unsupportedMediaType
      } else if let timeout = fields.timeout, timeout == nil {
        Self.badTimeout
      } else if fields.isCompressed {
        Self.unknownCompression
      } else {
        routes[fields.path ?? ""] ?? Self.unknownMethod
      }
    if let timeout = fields.timeout, let timeout { self.timeout = timeout }
    if let length = fields.contentLength { self.contentLength = length }
  }

  init(route: Int32) { self.route = route }

  /// Whether a client's trailers are allowed: no pseudo-header fields, no connection-specific ones, no bad names or
  /// values. Sources: RFC 9113, sections 8.1 and 8.2.
  static func areTrailers(_ headers: HPACKHeaders) -> Bool {
    headers.allSatisfy { name, value, _ in FieldRules.allows(name, value) }
  }

  /// The fields that matter, collected in one pass.
  private struct Fields {
    var method: String?
    var path: String?
    var scheme: String?
    var authority: String?
    var host: String?
    var isGRPC = false
    var timeout: UInt64??
    var isCompressed = false
    var contentLength: Int32?
    var pastPseudoHeaders = false

    /// Takes one field; false makes the request malformed.
    mutating func take(_ name: String, _ value: String) -> Bool {
      if name.utf8.first == UInt8(ascii: ":") {
        return !self.pastPseudoHeaders && FieldRules.isValue(value) && self.takePseudo(name, value)
      }
      self.pastPseudoHeaders = true
      guard FieldRules.allows(name, value) else { return false }
      switch name {
      case "host":
        guard self.host == nil else { return false }
        self.host = value
      case "content-type": self.isGRPC = Self.isGRPC(value)
      case "grpc-timeout": self.timeout = .some(GRPCTimeout.nanoseconds(value))
      case "grpc-encoding": self.isCompressed = value != "identity"
      case "content-length": return self.takeLength(value)
      default: break
      }
      return true
    }

    /// Whether the pseudo-header fields make a request. Sources: RFC 9113, sections 8.3.1 and 8.5.
    var areComplete: Bool {
      guard let method = self.method, FieldRules.isMethod(method) else { return false }
      if let authority = self.authority, let host = self.host {
        let scheme = self.scheme ?? ""
        guard FieldRules.authority(authority, scheme: scheme) == FieldRules.authority(host, scheme: scheme) else {
          return false
        }
      }
      if method == "CONNECT" {
        return self.scheme == nil && self.path == nil && self.authority?.isEmpty == false
      }
      guard let scheme = self.scheme, FieldRules.isScheme(scheme) else { return false }
      // The deprecated user information has no place in the authority of an http or https URI.
      if let authority = self.authority, scheme.hasPrefix("http"), authority.contains("@") { return false }
      guard let path = self.path, FieldRules.isPath(path) else { return false }
      return path.utf8.first == UInt8(ascii: "/") || (path == "*" && method == "OPTIONS")
    }

    /// Lengths past 2^31-1 are cut to that: no message that we take is so long, so they match none.
    private mutating func takeLength(_ value: String) -> Bool {
      let isNumber = !value.isEmpty && value.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
      guard isNumber, self.contentLength == nil else { return false }
      self.contentLength = Int32(value) ?? .max
      return true
    }

    private mutating func takePseudo(_ name: String, _ value: String) -> Bool {
      func once(_ field: inout String?) -> Bool {
        guard field == nil else { return false }
        field = value
        return true
      }
      switch name {
      case ":method": return once(&self.method)
      case ":path": return once(&self.path)
      case ":scheme": return once(&self.scheme)
      case ":authority": return once(&self.authority)
      default: return false
      }
    }

    private static func isGRPC(_ type: String) -> Bool {
      let base = "application/grpc"
      guard type.hasPrefix(base) else { return false }
      guard let next = type.utf8.dropFirst(base.utf8.count).first else { return true }
      return next == UInt8(ascii: "+") || next == UInt8(ascii: ";")
    }
  }
}
