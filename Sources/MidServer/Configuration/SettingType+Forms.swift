import MidCore

extension SettingType where Value == [Tag: TextTemplate] {
  /// Pairs of a tag and the form of its ids.
  static func forms(atMost count: Int) -> SettingType {
    SettingType(
      allowed:
        "up to \(count) of TAG=FORM, separated by commas or as a YAML list; a FORM looks like \(TextTemplate.usage)",
      explain: { Self.reason($0) },
      parse: { text in
        TagPairs.parse(text, atMost: count, mark: { $0.firstIndex(of: "=") }) { value in
          do throws(IDError) { return try TextTemplate(value) } catch { return nil }
        }
      })
  }
}

extension SettingType where Value == [Tag: TextTemplate] {
  /// Which pair is none, and why.
  private static func reason(_ text: String) -> String? {
    var seen: Set<String> = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = part.trimmingSpaces()
      guard let mark = pair.firstIndex(of: "=") else { return "'\(pair)' has no =" }
      guard seen.insert(String(pair[..<mark])).inserted else { return "tag '\(pair[..<mark])' is there twice" }
      do throws(IDError) {
        _ = try Tag(String(pair[..<mark]))
        _ = try TextTemplate(String(pair[pair.index(after: mark)...]))
      } catch {
        return "'\(pair)': \(error.message.prefix { $0 != ";" })"
      }
    }
    return nil
  }
}

extension SettingType where Value == [Tag: Int] {
  /// Tags, each with how many bits its opaque numbers have.
  static func opaqueTags(atMost count: Int) -> SettingType {
    SettingType(
      allowed: "up to \(count) of TAG, TAG=63 or TAG=53, separated by commas or as a YAML list"
    ) { text in
      TagPairs.parse(text, atMost: count, mark: { $0.lastIndex(of: "=") }, missing: "63") { ["63": 63, "53": 53][$0] }
    }
  }
}

extension SettingType where Value == Int? {
  /// A slot of a key, or nothing.
  static let opaqueSlot = SettingType(
    allowed: SettingType<Int>.integer(0...15).allowed, redact: \.hidingKeys
  ) { text in
    text.isEmpty ? .some(nil) : SettingType<Int>.integer(0...15).parse(text).map { .some($0) }
  }
}

extension SettingType where Value == [Int: OpaqueKeyReference] {
  /// Slots, each with where its key stands.
  static let opaqueKeys = SettingType(
    allowed:
      "up to 16 of SLOT=file:PATH or SLOT=env:NAME, separated by commas or as a YAML list; a SLOT is 0 to 15, a NAME does not "
      + "begin with MID_",
    // Who puts the key itself there must not find it in the log.
    redact: { $0.contains("file:") || $0.contains("env:") ? $0.hidingKeys : "<hidden>" },
    parse: { text in
      guard !text.isEmpty else { return [:] }
      var keys: [Int: OpaqueKeyReference] = [:]
      for part in text.split(separator: ",", omittingEmptySubsequences: false) {
        let pair = part.trimmingSpaces()
        guard let mark = pair.firstIndex(of: "="),
          let slot = SettingType<Int>.integer(0...15).parse(String(pair[..<mark])),
          let key = OpaqueKeyReference(String(pair[pair.index(after: mark)...])),
          keys.updateValue(key, forKey: slot) == nil
        else { return nil }
      }
      return keys
    })
}
