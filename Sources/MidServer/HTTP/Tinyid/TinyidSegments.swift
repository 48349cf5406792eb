import MidCore

/// Whole segments for Tinyid's clients, which hand out the ids in them by themselves. Each is a load of the tag's step.
struct TinyidSegments: Sendable {
  /// What a client walks through: from the first id above `currentID` with `id mod delta == remainder`, in steps of
  /// `delta`, up to `maxID`, which is part of it. From `loadingID` on it asks for the next one.
  struct Segment: Sendable, Equatable {
    var currentID: Int64
    var loadingID: Int64
    var maxID: Int64
    var delta: Int64
    var remainder: Int64

    /// The segment that holds the ids of `range` and no others. `range` is not empty, and its ids are above 0.
    init(_ range: IDRange) {
      let width = range.count * range.stride
      self.currentID = range.start - 1
      // A fifth, which never overflows this way.
      self.loadingID = self.currentID + width / 100 * 20 + width % 100 * 20 / 100
      self.maxID = self.currentID + width
      self.delta = range.stride
      self.remainder = range.start % range.stride
    }

    var json: String {
      "{\"currentId\":\(self.currentID),\"loadingId\":\(self.loadingID),\"maxId\":\(self.maxID),"
        + "\"delta\":\(self.delta),\"remainder\":\(self.remainder)}"
    }

    var simple: String {
      "\(self.currentID),\(self.loadingID),\(self.maxID),\(self.delta),\(self.remainder)"
    }
  }

  let ids: IDMethods
  let store: any SegmentStore
  /// Is told of each load.
  let observer: SegmentService.LoadObserver

  /// Takes the tag's next segment from the store, within the store's timeout.
  ///
  /// - Throws: As the store's loads; ``MidCore/IDError/Code/unknownTag`` without a look at the store where the list of
  ///   tags was read a moment ago.
  func take(_ tag: Tag) async throws(IDError) -> Segment {
    let step = try await self.ids.segmentGenerator(of: tag).snapshot.step
    let start = ContinuousClock.now
    let range: IDRange
    do throws(IDError) {
      range = try await self.store.allocate(step, for: tag)
    } catch {
      self.observer(tag, ContinuousClock.now - start, error)
      throw error
    }
    self.observer(tag, ContinuousClock.now - start, nil)
    // Where an operator has set the row below zero.
    guard range.start >= 1 else {
      throw IDError(.storeRejected, "the row of tag \(tag) stands below 0, and those numbers are no ids")
    }
    self.ids.meter.issued(segment: range.count)
    return Segment(range)
  }
}
