import Logging
import MidCore
import Synchronization
import Testing

@testable import MidServer

@Suite struct SemiSyncMonitorTests {
  @Test func `what is required and not there takes readiness, and only what is seen gives it`() {
    for isRequired in [true, false] {
      var state = SemiSyncState(isRequired: isRequired)
      #expect(state.isSatisfied == !isRequired, "before the first look")
      for (answer, status) in [(nil, .absent), (false, .off), (true, .on), (false, .off)]
        as [(Bool?, SemiSyncState.Status)]
      {
        _ = state.saw(answer)
        #expect(state.status == status)
        #expect(state.isSatisfied == (!isRequired || answer == true))
      }
    }
  }

  @Test func `a change is news once, and so is at first what is required and missing`() {
    var strict = SemiSyncState(isRequired: true)
    #expect([true, true, false, false, true].map { strict.saw($0) } == [false, false, true, false, true])
    #expect([nil, nil, true].map { strict.saw($0) } == [true, false, true])
    for (isRequired, answer, isNews) in [
      (true, false, true), (true, nil, true), (true, true, false), (false, false, false), (false, nil, false),
    ] as [(Bool, Bool?, Bool)] {
      var state = SemiSyncState(isRequired: isRequired)
      #expect(state.saw(answer) == isNews, "required \(isRequired), first answer \(String(describing: answer))")
    }
  }

  @Test func `the gauge is there only where the store knows of it, and an unanswered look changes nothing`()
    async throws
  {
    let shared = Answer()
    let registry = PrometheusRegistry()
    let monitor = SemiSyncMonitor(
      isRequired: true, location: "here", ask: { shared.answer.withLock { $0 } },
      storeReady: {}, registry: registry, logger: Logger(label: "test"))
    func gauge() -> [Substring] {
      registry.scrape().split(separator: "\n").filter { $0.hasPrefix("mid_store_semi_sync ") }
    }
    for (answer, line, isSatisfied) in [
      (.success(nil), [], false), (.success(true), ["mid_store_semi_sync 1"], true),
      (.failure(IDError(.storeUnavailable, "away")), ["mid_store_semi_sync 1"], true),
      (.success(false), ["mid_store_semi_sync 0"], false),
      (.failure(IDError(.storeUnavailable, "away")), ["mid_store_semi_sync 0"], false),
    ] as [(Result<Bool?, IDError>, [Substring], Bool)] {
      shared.answer.withLock { $0 = answer }
      await monitor.look()
      #expect(gauge() == line && monitor.isSatisfied == isSatisfied, "\(answer)")
    }
  }
  private final class Answer: Sendable {
    let answer = Mutex<Result<Bool?, IDError>>(.success(nil))
  }
}
