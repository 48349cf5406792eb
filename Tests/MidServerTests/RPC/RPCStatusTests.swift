import MidCore
import MidRPC
import Testing

@testable import MidServer

@Suite("Errors as gRPC callers see them") struct RPCStatusTests {
  @Test(arguments: [
    (IDError.Code.invalidArgument, RPCStatus.Code.invalidArgument),
    (.unknownTag, .notFound), (.tagExists, .alreadyExists), (.overloaded, .resourceExhausted),
    (.clockBehind, .unavailable), (.leaseLost, .unavailable), (.notReady, .unavailable),
    (.deadlineExceeded, .deadlineExceeded),
    (.wentBackwards, .dataLoss), (.exhausted, .outOfRange),
  ])
  func `each code has its own, and the message stays`(code: IDError.Code, status: RPCStatus.Code) {
    #expect(RPCStatus(IDError(code, "why")) == RPCStatus(status, "why"))
  }

  @Test(arguments: [IDError.Code.storeUnavailable, .storeRejected])
  func `where the store is and who asks it is not told`(code: IDError.Code) {
    let status = RPCStatus(IDError(code, "MySQL at db.example:3306 as user mid"))
    #expect(status.code == .unavailable)
    #expect(!status.message.contains("db.example") && status.message.contains("log"))
  }
}
