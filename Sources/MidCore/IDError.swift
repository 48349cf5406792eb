/// What went wrong when an id was asked for, and what the caller should do about it.
///
/// There is one error type in the core; the shells map its ``code`` to gRPC and HTTP in one file each.
public struct IDError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The class of a failure. Opaque, so that codes can be added without breaking a caller's `switch`.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private enum Wrapped: String, Sendable {
      case invalidArgument, unknownTag, tagExists, overloaded, storeUnavailable, storeRejected, clockBehind
      case leaseLost, notReady, deadlineExceeded, wentBackwards, exhausted
    }

    private let wrapped: Wrapped

    private init(_ wrapped: Wrapped) { self.wrapped = wrapped }

    /// The code's name, as logs and metrics show it.
    public var description: String { self.wrapped.rawValue }

    /// The call itself is wrong: mode, tag, count or text. The message lists what is allowed. Fix the call.
    public static let invalidArgument = Code(.invalidArgument)
    /// No such tag. Create it, then call again.
    public static let unknownTag = Code(.unknownTag)
    /// A tag of that name is there already. Use it, or choose another name.
    public static let tagExists = Code(.tagExists)
    /// A bounded queue is full. Back off, or ask another node.
    public static let overloaded = Code(.overloaded)
    /// The store does not answer, and nothing cached is left. Retry, on another node if there is one.
    public static let storeUnavailable = Code(.storeUnavailable)
    /// The store answers and refuses: a wrong password, a missing table or right. Retrying does not help; an operator does.
    public static let storeRejected = Code(.storeRejected)
    /// The clock stands too far behind the ids already given out. Retry later, or on another node.
    public static let clockBehind = Code(.clockBehind)
    /// This node does not hold the worker id, or its time bound has passed. Retry on another node.
    public static let leaseLost = Code(.leaseLost)
    /// The service is still starting or already stopping. Retry, on another node if there is one.
    public static let notReady = Code(.notReady)
    /// The caller's deadline came before an id did.
    public static let deadlineExceeded = Code(.deadlineExceeded)
    /// The store handed out numbers below ones already used. Nothing was issued; an operator has to look.
    public static let wentBackwards = Code(.wentBackwards)
    /// The number space is used up: the layout's time or the tag's largest id.
    public static let exhausted = Code(.exhausted)
  }

  /// The class of the failure, for programs.
  public var code: Code

  /// One sentence for people: what happened, with the numbers, and what is allowed. Holds no secret.
  public var message: String

  /// Creates an error of `code` that says `message`.
  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// `code: message`.
  public var description: String { "\(self.code): \(self.message)" }
}
