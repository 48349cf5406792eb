/// Finds what somebody may have meant.
enum Suggestion {
  /// The candidate nearest to `text`, or nil where none is near enough to be a slip of the keys: a third of its length.
  static func nearest(to text: String, in candidates: [String]) -> String? {
    let limit = max(2, text.count / 3)
    let ranked = candidates.map { (name: $0, distance: self.distance(text, $0)) }
    guard let best = ranked.min(by: { ($0.distance, $0.name) < ($1.distance, $1.name) }) else { return nil }
    return best.distance <= limit ? best.name : nil
  }

  /// How many single-character insertions, deletions and replacements lie between two texts (Levenshtein's distance).
  static func distance(_ first: String, _ second: String) -> Int {
    let second = Array(second)
    var row = Array(0...second.count)
    for (i, character) in first.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, other) in second.enumerated() {
        let replaced = diagonal + (character == other ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(replaced, diagonal + 1, row[j] + 1)
      }
    }
    return row[second.count]
  }
}
