import MidCore
import MidTestKit

/// The store of the model: the rules of rows, over a dictionary.
extension WorkerLeaseModel {
  static let away = IDError(.storeUnavailable, "away")

  struct Answer {
    var list: Result<WorkerList, IDError> = .failure(away)
    var claim: Result<WorkerClaim, IDError> = .failure(away)

    static func failure(_ error: IDError) -> Answer { Answer(list: .failure(error), claim: .failure(error)) }
  }

  var isFenced: Bool { self.sabotage != .noFencing }

  /// A row as others see it.
  func shown(_ row: WorkerRecord) -> WorkerRecord {
    var row = row
    if self.sabotage == .noBound { row.bound = 0 }
    return row
  }

  /// An operator frees one of the ids, whoever holds it.
  mutating func free() {
    let workers = self.rows.keys.sorted()
    guard !workers.isEmpty, !self.isStoreAway, let row = self.rows[workers[self.random.below(workers.count)]] else {
      return
    }
    if row.expiresAt > self.storeTime { self.counts.freed += 1 }
    do throws(IDError) {
      var freed = try row.freeing(ifTerm: row.term, force: true, at: self.storeTime)
      if self.sabotage == .freeLowersBound { freed.bound = min(freed.bound, self.time) }
      self.rows[row.worker] = freed
    } catch { preconditionFailure("\(error)") }
  }

  mutating func serve(_ request: Request) -> Answer {
    do throws(IDError) {
      switch request {
      case .list:
        let records = self.rows.values.sorted { $0.worker < $1.worker }.map(self.shown)
        return Answer(list: .success(WorkerList(records: records, storeTime: self.storeTime)))
      case .claim(let worker, let owner, let bound):
        let previous = self.rows[worker]
        let current = try WorkerRecord.claiming(
          worker, previous: previous, owner: owner, leaseMilliseconds: Self.settings.lease, bound: bound,
          at: self.storeTime)
        self.rows[worker] = current
        if let previous, previous.owner.token != owner.token { self.counts.takeovers += 1 }
        return Answer(
          claim: .success(
            WorkerClaim(current: current, previous: previous.map(self.shown), storeTime: self.storeTime)))
      case .renew(let worker, let token, let term, let bound):
        guard let previous = self.rows[worker] else { throw WorkerRecord.missing(worker) }
        let current = try previous.renewing(
          token: self.isFenced ? token : previous.owner.token, term: self.isFenced ? term : previous.term,
          leaseMilliseconds: Self.settings.lease, bound: bound, at: self.storeTime)
        self.rows[worker] = current
        return Answer(
          claim: .success(WorkerClaim(current: current, previous: previous, storeTime: self.storeTime)))
      case .release(let worker, let token, let term, let bound):
        guard let previous = self.rows[worker] else { throw WorkerRecord.missing(worker) }
        self.rows[worker] = try previous.releasing(
          token: self.isFenced ? token : previous.owner.token, term: self.isFenced ? term : previous.term,
          bound: bound, at: self.storeTime)
        return Answer()
      }
    } catch {
      return .failure(error)
    }
  }
}
