package import MidCore
package import MidRPC

extension RPCStatus {
  /// What a gRPC caller is told of an error of the core: the one place where codes are mapped.
  package init(_ error: IDError) {
    let code: RPCStatus.Code =
      switch error.code {
      case .invalidArgument: .invalidArgument
      case .unknownTag: .notFound
      case .tagExists: .alreadyExists
      case .overloaded: .resourceExhausted
      case .storeUnavailable, .storeRejected, .clockBehind, .leaseLost, .notReady: .unavailable
      case .deadlineExceeded: .deadlineExceeded
      case .wentBackwards: .dataLoss
      case .exhausted: .outOfRange
      default: .internalError
      }
    switch error.code {
    // Where the store is and who asks it is the operator's business; the log says it.
    case .storeUnavailable:
      self.init(code, "the store does not answer; the server's log says more")
    case .storeRejected: self.init(code, "the store refuses; the server's log says why")
    default: self.init(code, error.message)
    }
  }
}
