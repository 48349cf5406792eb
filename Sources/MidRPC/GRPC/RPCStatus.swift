/// How a call ended, in gRPC's terms. Source: gRPC's `statuscodes.md`.
public struct RPCStatus: Error, Sendable, Hashable, CustomStringConvertible {
  /// A gRPC status code. Every code of the standard has its number and name.
  public enum Code: UInt8, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    case ok = 0
    case cancelled = 1
    case unknown = 2
    case invalidArgument = 3
    case deadlineExceeded = 4
    case notFound = 5
    case alreadyExists = 6
    case permissionDenied = 7
    case resourceExhausted = 8
    case failedPrecondition = 9
    case aborted = 10
    case outOfRange = 11
    case unimplemented = 12
    case internalError = 13
    case unavailable = 14
    case dataLoss = 15
    case unauthenticated = 16

    /// The name as gRPC writes it, such as `INVALID_ARGUMENT`.
    public var description: String {
      switch self {
      case .ok: "OK"
      case .cancelled: "CANCELLED"
      case .unknown: "UNKNOWN"
      case .invalidArgument: "INVALID_ARGUMENT"
      case .deadlineExceeded: "DEADLINE_EXCEEDED"
      case .notFound: "NOT_FOUND"
      case .alreadyExists: "ALREADY_EXISTS"
      case .permissionDenied: "PERMISSION_DENIED"
      case .resourceExhausted: "RESOURCE_EXHAUSTED"
      case .failedPrecondition: "FAILED_PRECONDITION"
      case .aborted: "ABORTED"
      case .outOfRange: "OUT_OF_RANGE"
      case .unimplemented: "UNIMPLEMENTED"
      case .internalError: "INTERNAL"
      case .unavailable: "UNAVAILABLE"
      case .dataLoss: "DATA_LOSS"
      case .unauthenticated: "UNAUTHENTICATED"
      }
    }
  }

  /// The code, for programs.
  public var code: Code
  /// For people. Percent-encoded on the wire, so any text will do.
  public var message: String

  /// Creates a status.
  public init(_ code: Code, _ message: String = "") {
    self.code = code
    self.message = message
  }

  /// `CODE: message`.
  public var description: String { self.message.isEmpty ? "\(self.code)" : "\(self.code): \(self.message)" }
}
