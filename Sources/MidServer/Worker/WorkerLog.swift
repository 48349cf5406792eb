import Logging
import MidCore

/// What an operator reads of the worker id.
struct WorkerLog: Sendable {
  private let logger: Logger
  private let clock: any TimeSource

  init(logger: Logger, clock: any TimeSource) {
    self.logger = logger
    self.clock = clock
  }

  func callAsFunction(_ fact: WorkerLeaseStateMachine.Fact) {
    switch fact {
    case .taken(let worker, let term, let floor):
      self.waits(worker, floor: floor)
      self.logger.info("worker id taken", metadata: ["worker_id": "\(worker)", "term": "\(term)"])
    case .alone(let worker, let floor):
      self.waits(worker, floor: floor)
      self.logger.warning("worker id used without the store", metadata: ["worker_id": "\(worker)"])
    case .notTaken(let worker, let error):
      let name: Logger.Metadata = worker.map { ["worker_id": "\($0)"] } ?? [:]
      self.logger.warning(
        "worker id not taken, trying on", metadata: name.merging(["error": "\(error)"]) { $1 })
    case .notRenewed(let worker, let error):
      self.logger.warning(
        "worker id not renewed, trying on", metadata: ["worker_id": "\(worker)", "error": "\(error)"])
    case .renewedAgain(let worker): self.logger.info("worker id renewed again", metadata: ["worker_id": "\(worker)"])
    case .lapsed(let worker, let error):
      self.logger.error("worker id lost", metadata: ["worker_id": "\(worker)", "error": "\(error)"])
    case .notStored(let error):
      self.logger.error("time bound not stored, trying on", metadata: ["error": "\(error)"])
    case .storedAgain: self.logger.info("time bound stored again")
    case .changing(let worker, let error):
      self.logger.warning("worker id given up", metadata: ["worker_id": "\(worker)", "error": "\(error)"])
    case .sharedWhileAway(let worker, let holder):
      self.logger.error(
        "another node issued under this worker id while the store was away",
        metadata: ["worker_id": "\(worker)", "holder": "\(holder)"])
    }
  }

  func changed(from previous: Int64, to worker: Int64) {
    self.logger.warning("worker id changed", metadata: ["from": "\(previous)", "to": "\(worker)"])
  }

  func notGivenBack(_ error: IDError) {
    self.logger.warning("worker id not given back", metadata: ["error": "\(error)"])
  }

  private func waits(_ worker: Int64, floor: Int64) {
    let ahead = floor - self.clock.wallMilliseconds()
    guard ahead > 0 else { return }
    self.logger.warning(
      "snowflake waits for the clock",
      metadata: [
        "worker_id": "\(worker)", "wait_ms": "\(ahead)", "reason": "ids of this worker may exist up to that time",
      ])
  }
}
