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
  static let malformed: Int32 = -1
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
    guard let method = fields.method, let path = fields.path, fields.scheme != nil, !path.isEmpty else {
      self.route = Self.malformed
      return
    }
    self.route =
      if method != "POST" {
        Self.notPost
      } else if !fields.isGRPC {
        Self.unsupportedMediaType
      } else if let timeout = fields.timeout, timeout == nil {
        Self.badTimeout
      } else if fields.isCompressed {
        Self.unknownCompression
      } else {
        routes[path] ?? Self.unknownMethod
      }
    if let timeout = fields.timeout, let timeout { self.timeout = timeout }
    if let length = fields.contentLength { self.contentLength = length }
  }

  init(route: Int32) { self.route = route }

  /// Whether a client's trailers are allowed: no pseudo-header fields, no bad names or values. Source: RFC 9113,
  /// section 8.1.
  static func areTrailers(_ headers: HPACKHeaders) -> Bool {
    headers.allSatisfy { name, value, _ in
      !name.hasPrefix(":") && !name.utf8.contains(where: Fields.isForbidden) && Fields.isValue(value)
    }
  }

  /// The fields that matter, collected in one pass.
  private struct Fields {
    var method: String?
    var path: String?
    var scheme: String?
    var authority: String?
    var isGRPC = false
    var timeout: UInt64??
    var isCompressed = false
    var contentLength: Int32?
    var pastPseudoHeaders = false

    static func isForbidden(_ byte: UInt8) -> Bool {
      (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || byte <= 0x20 || byte >= 0x7f
    }

    /// Whether a field may have this value: no NUL, CR or LF, no blank at either end. Source: RFC 9113, section 8.2.1.
    static func isValue(_ value: String) -> Bool {
      func isBlank(_ byte: UInt8?) -> Bool { byte == 0x20 || byte == 0x09 }
      let bytes = value.utf8
      return !bytes.contains { $0 == 0 || $0 == 0x0a || $0 == 0x0d } && !isBlank(bytes.first) && !isBlank(bytes.last)
    }

    /// Takes one field; false makes the request malformed.
    mutating func take(_ name: String, _ value: String) -> Bool {
      guard !name.isEmpty, Self.isValue(value) else { return false }
      if name.utf8.first == UInt8(ascii: ":") { return !self.pastPseudoHeaders && self.takePseudo(name, value) }
      self.pastPseudoHeaders = true
      guard !name.utf8.contains(where: Self.isForbidden) else { return false }
      switch name {
      case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade": return false
      case "te": return value == "trailers"
      case "content-type": self.isGRPC = Self.isGRPC(value)
      case "grpc-timeout": self.timeout = .some(GRPCTimeout.nanoseconds(value))
      case "grpc-encoding": self.isCompressed = value != "identity"
      case "content-length": return self.takeLength(value)
      default: break
      }
      return true
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
