import MidCore

/// A segment for Tinyid's clients, which hand out the ids in it by themselves: from the first above `currentID` with
/// `id mod delta == remainder`, in steps of `delta`, up to `maxID`, which is part of it. From `loadingID` on they ask for
/// the next one.
struct TinyidSegment: Sendable, Equatable {
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
