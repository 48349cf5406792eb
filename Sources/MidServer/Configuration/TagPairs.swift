import MidCore

/// Lists of pairs of a tag and something, as some settings have them.
enum TagPairs {
  /// Reads a list, no tag twice. Returns nil where it is none; an empty text is an empty list.
  ///
  /// - Parameters:
  ///   - count: how many pairs there may be.
  ///   - mark: finds the `=` between tag and value, either of which may hold another one.
  ///   - missing: what stands for the value of a tag alone; nil where there has to be one.
  ///   - value: reads a value.
  static func parse<Value>(
    _ text: String, atMost count: Int, mark: (String) -> String.Index?, missing: String? = nil,
    value: (String) -> Value?
  ) -> [Tag: Value]? {
    guard !text.isEmpty else { return [:] }
    var pairs: [Tag: Value] = [:]
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = part.trimmingSpaces()
      let mark = mark(pair)
      guard let valueText = mark.map({ String(pair[pair.index(after: $0)...]) }) ?? missing,
        let value = value(valueText)
      else { return nil }
      do throws(IDError) {
        let tag = try Tag(String(pair[..<(mark ?? pair.endIndex)]))
        guard pairs.updateValue(value, forKey: tag) == nil else { return nil }
      } catch {
        return nil
      }
    }
    return pairs.count <= count ? pairs : nil
  }
}
