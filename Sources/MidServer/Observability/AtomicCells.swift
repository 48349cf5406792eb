import Synchronization

/// A fixed number of 64-bit counters that any thread may add to without a lock.
final class AtomicCells: Sendable {
  // SAFETY: the buffer is allocated and initialised once here, never moved or resized, and freed in deinit, when nobody
  // else holds this object. All access in between is by atomic operations on its elements, which bounds are checked for.
  private nonisolated(unsafe) let cells: UnsafeMutableBufferPointer<Atomic<Int64>>

  /// Creates `count` cells, all 0.
  init(count: Int) {
    let cells = UnsafeMutableBufferPointer<Atomic<Int64>>.allocate(capacity: count)
    for index in 0..<count {
      cells.initializeElement(at: index, to: Atomic(0))
    }
    self.cells = cells
  }

  deinit {
    self.cells.deinitialize()
    self.cells.deallocate()
  }

  /// Adds to one cell, wrapping around; one relaxed atomic addition.
  @inline(__always)
  func add(_ amount: Int64, at index: Int) {
    precondition(index >= 0 && index < self.cells.count, "a cell's index is below the count of cells")
    self.cells[index].wrappingAdd(amount, ordering: .relaxed)
  }

  /// All values. Not one moment's picture: other threads may add in between.
  func values() -> [Int64] {
    self.cells.indices.map { self.cells[$0].load(ordering: .relaxed) }
  }

  /// Sets all cells to 0.
  func reset() {
    for index in self.cells.indices {
      self.cells[index].store(0, ordering: .relaxed)
    }
  }
}
