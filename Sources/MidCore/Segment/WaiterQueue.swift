/// Names one waiting call.
public struct WaiterID: Sendable, Hashable {
  let slot: Int
  let generation: UInt64
}

/// A bounded first-in-first-out queue whose members can also leave from the middle.
///
/// A doubly linked list within an array, with a list of free slots: adding, removing and leaving take constant time, and
/// the array never grows past the largest number of waiters there was at once.
struct WaiterQueue<Reply: Sendable>: Sendable {
  /// One waiting call.
  struct Waiter: Sendable {
    let count: Int64
    let reply: Reply
  }

  private struct Slot: Sendable {
    var waiter: Waiter?
    var generation: UInt64
    var previous: Int?
    var next: Int?
  }

  private var slots: [Slot] = []
  private var free: [Int] = []
  private var head: Int?
  private var tail: Int?
  private var generation: UInt64 = 0

  /// How many wait.
  private(set) var count = 0
  /// How many ids they wait for.
  private(set) var idCount: Int64 = 0

  var isEmpty: Bool { self.count == 0 }
  /// The one that waits longest.
  var first: Waiter? { self.head.flatMap { self.slots[$0].waiter } }

  mutating func append(_ waiter: Waiter) -> WaiterID {
    self.generation += 1
    let slot = Slot(waiter: waiter, generation: self.generation, previous: self.tail, next: nil)
    let index: Int
    if let reused = self.free.popLast() {
      index = reused
      self.slots[index] = slot
    } else {
      index = self.slots.count
      self.slots.append(slot)
    }
    if let tail = self.tail { self.slots[tail].next = index } else { self.head = index }
    self.tail = index
    self.count += 1
    self.idCount += waiter.count
    return WaiterID(slot: index, generation: self.generation)
  }

  /// Takes a waiter out, or answers nil where it has left already.
  mutating func remove(_ id: WaiterID) -> Waiter? {
    guard self.slots.indices.contains(id.slot), self.slots[id.slot].generation == id.generation else { return nil }
    return self.remove(at: id.slot)
  }

  /// Whether anyone waits for at most `limit` ids.
  func hasWaiter(forAtMost limit: Int64) -> Bool {
    var index = self.head
    while let current = index {
      if let waiter = self.slots[current].waiter, waiter.count <= limit { return true }
      index = self.slots[current].next
    }
    return false
  }

  /// Asks `take` about every waiter in order and takes out those it says yes to.
  mutating func removeAll(where take: (Waiter) -> Bool) {
    var index = self.head
    while let current = index {
      index = self.slots[current].next
      if let waiter = self.slots[current].waiter, take(waiter) { _ = self.remove(at: current) }
    }
  }

  private mutating func remove(at index: Int) -> Waiter? {
    let slot = self.slots[index]
    guard let waiter = slot.waiter else { return nil }
    if let previous = slot.previous { self.slots[previous].next = slot.next } else { self.head = slot.next }
    if let next = slot.next { self.slots[next].previous = slot.previous } else { self.tail = slot.previous }
    self.slots[index].waiter = nil
    self.free.append(index)
    self.count -= 1
    self.idCount -= waiter.count
    return waiter
  }
}
