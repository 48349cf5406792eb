/// The rules by which a node takes a worker id, keeps it, and gives it up, so that no two nodes ever issue the same id.
///
/// Events come in with the time they happened at; what is to be done comes out, in order. Nothing is read, stored, waited
/// for or logged inside. At most one operation of the store and one write of the data folder are under way at a time.
///
/// What it guarantees, whatever is lost, late or repeated:
/// - Ids are granted only below a bound that the store's row and the data folder both have, durably, and above whatever
///   bound an earlier holder left.
/// - A grant ends with the lease by the monotonic clock, counted from before the request was sent, less a margin: before
///   the store lets anybody else have the id.
/// - What is in the data folder is there before the store is asked, so that a crash at any point leaves a folder that
///   tells what the row may say.
///
/// A node with a fixed worker id whose store was never reached issues without it, up to the folder's bound alone.
///
/// See `docs/decisions/0007-worker-leases.md`; the rules of rows are those of ``WorkerStore``.
public struct WorkerLeaseStateMachine: Sendable {
  /// The time of an event, and how far the ids have come.
  public struct Moment: Sendable, Hashable {
    /// Milliseconds since the Unix epoch by the wall clock, which may step.
    public var wall: Int64
    /// Nanoseconds of a clock that never steps and goes on during sleep.
    public var monotonic: UInt64
    /// The first millisecond that no id given out has reached; 0 before the first grant.
    public var front: Int64
    /// Whether the store can be asked.
    public var isStoreReady: Bool
    /// Why a node that has issued nothing yet must not begin to, or nil: its clock is known to be wrong.
    public var refusal: IDError?
    /// A random number, to get out of the way of others.
    public var random: UInt64

    /// Creates a moment.
    public init(
      wall: Int64, monotonic: UInt64, front: Int64, isStoreReady: Bool, refusal: IDError? = nil, random: UInt64
    ) {
      self.wall = wall
      self.monotonic = monotonic
      self.front = front
      self.isStoreReady = isStoreReady
      self.refusal = refusal
      self.random = random
    }
  }

  /// What is to be done.
  public enum Action: Sendable, Hashable {
    /// Store this in the data folder; ``WorkerLeaseStateMachine/wrote(_:_:)`` tells how it went.
    case write(WorkerMemory)
    /// Read all rows; ``WorkerLeaseStateMachine/listed(_:_:)``.
    case list
    /// Claim a row; ``WorkerLeaseStateMachine/claimed(_:_:)``.
    case claim(worker: Int64, bound: Int64)
    /// Renew the row that is held; ``WorkerLeaseStateMachine/renewed(_:_:)``.
    case renew(worker: Int64, term: Int64, bound: Int64)
    /// Give a row back; ``WorkerLeaseStateMachine/released(_:)``.
    case release(worker: Int64, term: Int64, bound: Int64)
    /// Issue ids of `worker` from the floor on, up to the bound and the end of the lease (monotonic nanoseconds).
    case grant(worker: Int64, floor: Int64, bound: Int64, leaseEnd: UInt64)
    /// Issue further, up to these.
    case extend(bound: Int64, leaseEnd: UInt64)
    /// Issue nothing, and say why.
    case revoke(IDError)
    /// Issue nothing, say why, and tell by ``WorkerLeaseStateMachine/gaveUp(exactBound:_:)`` how far the ids had come.
    case giveUp(IDError)
    /// Something an operator may want to know.
    case tell(Fact)
  }

  /// What happened. What fails again for the same reason is told once.
  public enum Fact: Sendable, Hashable {
    /// The worker id is held now; ids begin at the floor.
    case taken(worker: Int64, term: Int64, floor: Int64)
    /// It is issued without the store, which was not reached yet; ids begin at the floor.
    case alone(worker: Int64, floor: Int64)
    /// It could not be had. Tried again.
    case notTaken(worker: Int64?, IDError)
    /// The lease was not renewed. Tried again.
    case notRenewed(worker: Int64, IDError)
    /// The lease was renewed, after it was not.
    case renewedAgain(worker: Int64)
    /// The lease has ended, as it was not renewed in time.
    case lapsed(worker: Int64, IDError)
    /// The data folder was not written. Tried again.
    case notStored(IDError)
    /// The data folder was written, after it was not.
    case storedAgain
    /// The id is given up for another, as the clock has gone back too far.
    case changing(worker: Int64, IDError)
    /// Another node held the id while this one issued under it without the store.
    case sharedWhileAway(worker: Int64, holder: String)
  }

  struct Holding: Sendable, Hashable {
    var worker: Int64
    var term: Int64
    /// The row's bound as the store confirmed it.
    var bound: Int64
    var leaseEnd: UInt64
    var renewAt: UInt64
    /// Not sooner, however close the bound is: the store has just failed.
    var notBefore: UInt64 = 0
    /// When another id may be looked for: none was better a moment ago.
    var changeAt: UInt64
  }

  enum Phase: Sendable, Hashable {
    case seeking
    /// Issuing on the strength of a fixed id and the data folder alone: the store was never reached.
    case alone(worker: Int64)
    case holding(Holding)
    case stopped
  }

  struct Plan: Sendable, Hashable {
    var worker: Int64
    /// What was known of the worker before.
    var before: WorkerMemory
    var asked: Int64
  }

  /// What the store's turn is at. Those whose names begin with "preparing" and "confirming" wait for the data folder.
  enum Step: Sendable, Hashable {
    case idle
    case listing
    case preparingClaim(Plan)
    case claiming(Plan, sentAt: UInt64)
    case confirmingClaim(WorkerClaim, floor: Int64, sentAt: UInt64)
    case preparingRenewal(asked: Int64)
    case renewing(sentAt: UInt64)
    case givingUp
    case releasing
    case confirmingAlone(worker: Int64, floor: Int64)
  }

  let wish: WorkerWish
  let owner: WorkerOwner
  let settings: WorkerLeaseSettings
  /// What the data folder holds.
  public internal(set) var memory: WorkerMemory
  var phase = Phase.seeking
  var step = Step.idle
  var writing: WorkerMemory?
  var writeAgainAt: UInt64 = 0
  var localAt: UInt64 = 0
  var seekAt: UInt64 = 0
  var conflicts = 0
  /// Whether any worker id was granted in this run.
  var hasBegun = false
  /// The store has answered, be it with a refusal.
  var isStoreKnown = false
  /// The worker whose generator knows better than the folder how far its ids have come: the last one granted in this run,
  /// where nobody else can have had it since. Whether the store confirmed it.
  var granted: (worker: Int64, isConfirmed: Bool)?
  /// What was told last of what fails.
  var told = Told()

  struct Told: Sendable, Hashable {
    var notTaken: IDError.Code?
    var notRenewed: IDError.Code?
    var notStored = false
  }

  /// Creates the state of a node that holds nothing.
  ///
  /// - Parameters:
  ///   - wish: which worker id it wants.
  ///   - owner: who it is. No other process may have the same token.
  ///   - settings: how long leases last and how often they are renewed.
  ///   - memory: what its data folder holds.
  public init(wish: WorkerWish, owner: WorkerOwner, settings: WorkerLeaseSettings, memory: WorkerMemory) {
    self.wish = wish
    self.owner = owner
    self.settings = settings
    self.memory = memory
  }

  /// The row that is held, or nil, and when its lease ends by the monotonic clock.
  public var held: (worker: Int64, term: Int64, leaseEnd: UInt64)? {
    if case .holding(let holding) = self.phase { (holding.worker, holding.term, holding.leaseEnd) } else { nil }
  }

  /// The bound in force, 0 while nothing may be issued.
  public var boundInForce: Int64 {
    switch self.phase {
    case .holding(let holding): self.bound(holding)
    case .alone: self.memory.bound
    case .seeking, .stopped: 0
    }
  }

  /// Whether ids are granted: held, or issued without the store.
  public var isIssuing: Bool {
    switch self.phase {
    case .holding, .alone: true
    case .seeking, .stopped: false
    }
  }

  /// Looks what time it is. To be called every now and then: a quarter of a second is often enough.
  public mutating func poll(_ now: Moment) -> [Action] {
    var actions: [Action] = []
    switch self.phase {
    case .stopped: return []
    case .seeking, .alone: self.seek(now, &actions)
    case .holding(let holding): self.keep(holding, now, &actions)
    }
    self.useFolder(now, &actions)
    return actions
  }

  /// Ends everything. The generator must be closed before.
  ///
  /// - Parameter exactBound: the first millisecond that no id given out has reached.
  /// - Returns: What to do, one after the other, whatever comes of it: the folder first, then the row.
  public mutating func stop(exactBound: Int64) -> [Action] {
    defer { self.phase = .stopped }
    var memory = self.memory
    switch self.phase {
    case .holding(let holding):
      // Lower than what was stored: nothing above it was issued, and nothing will be.
      memory.bound = exactBound
      memory.rowBound = min(exactBound, holding.bound)
      memory.askedBound = max(memory.askedBound, holding.bound)
      return [.write(memory), .release(worker: holding.worker, term: holding.term, bound: exactBound)]
    case .alone:
      memory.bound = exactBound
      return [.write(memory)]
    // Whoever issues nothing knows nothing of what others issued, and leaves all as it is.
    case .seeking, .stopped: return []
    }
  }

  /// The time that a new bound is counted from: the clock, or the ids where they have run ahead of it.
  ///
  /// Never further ahead of the clock than ids may run: a floor that lies further ahead is not issued at yet, and bounds
  /// that counted from it would move on at each restart, faster than the clock can follow.
  func base(_ now: Moment) -> Int64 { max(now.wall, min(now.front, now.wall + self.settings.ahead)) }

  /// The earlier one of both bounds.
  func bound(_ holding: Holding) -> Int64 { min(holding.bound, self.memory.bound) }

  func leaseEnd(_ sentAt: UInt64) -> UInt64 {
    sentAt + Self.nanoseconds(self.settings.lease - self.settings.margin)
  }

  /// When to try again what failed: after a renewal's interval, a second at most.
  func later(_ now: Moment) -> UInt64 { now.monotonic + Self.nanoseconds(min(1000, self.settings.renewal)) }

  static func nanoseconds(_ milliseconds: Int64) -> UInt64 { UInt64(max(0, milliseconds)) * 1_000_000 }
}
