package import MidCore

/// Answers what an id says, for every door: ids that tell their kind themselves, and texts of a tag's own form.
package struct IDReader: Sendable {
  /// What a caller wants read, and what he knows of it. Empty texts stand for what is not known.
  package struct Call: Sendable, Hashable {
    /// The id, or a text of it.
    package var text: String
    /// Whose text it is.
    package var tag: String
    /// The kind that it is to be read as: one of ``IDReader/kinds``.
    package var kind: String
    /// The layout of Snowflake ids, or `any`.
    package var layout: String

    /// Creates a call.
    package init(text: String, tag: String = "", kind: String = "", layout: String = "") {
      self.text = text
      self.tag = tag
      self.kind = kind
      self.layout = layout
    }
  }

  /// What was read.
  package struct Answer: Sendable, Hashable {
    /// The ways to read it.
    package var decoded: DecodedID
    /// What the text of a tag stood for; nil where no tag was given.
    package var opened: TagForms.Opened?
  }

  /// The longest text that is read, in bytes.
  static let maximumLength = 512
  /// The names of layouts that a caller may give.
  package static let layouts = SnowflakeLayout.presets.keys.sorted() + ["any"]

  /// The kind of a text that is the opaque number of an id of a tag, whatever the tag's form.
  package static let opaque = "opaque"
  /// The kinds that a caller may give.
  package static let kinds = IDKind.allCases.map(\.rawValue) + [Self.opaque]

  private let forms: TagForms
  private let own: (name: String, layout: SnowflakeLayout)?
  private let clock: any TimeSource

  /// Creates a reader.
  ///
  /// - Parameters:
  ///   - forms: how the ids of each tag look outside.
  ///   - layout: the layout of this node's Snowflake ids.
  ///   - clock: tells ids that have been from those that have not.
  package init(forms: TagForms, layout: SnowflakeLayout, clock: any TimeSource) {
    self.forms = forms
    self.own = SnowflakeLayout.presets.sorted { $0.key < $1.key }.first { $0.value == layout }
      .map { (name: $0.key, layout: $0.value) }
    self.clock = clock
  }

  /// Reads an id.
  ///
  /// - Throws: ``MidCore/IDError/Code/invalidArgument``, saying what is wrong with the text, or what may be given.
  package func read(_ call: Call) throws(IDError) -> Answer {
    guard call.text.utf8.count <= Self.maximumLength else {
      throw IDError(.invalidArgument, "an id has at most \(Self.maximumLength) bytes, this one \(call.text.utf8.count)")
    }
    let decoder = try self.decoder(call)
    let isNumber = call.kind == Self.opaque
    guard !call.tag.isEmpty else {
      guard !isNumber else {
        throw IDError(.invalidArgument, "an opaque number is that of a tag's id: give the tag, or another kind")
      }
      return Answer(decoded: try decoder.decode(call.text), opened: nil)
    }
    let opened = try self.forms.open(call.text, tag: try Tag(call.tag), isNumber: isNumber)
    return Answer(decoded: try decoder.decode(number: opened.id), opened: opened)
  }

  private func decoder(_ call: Call) throws(IDError) -> IDDecoder {
    var kind: IDKind?
    if !call.kind.isEmpty, call.kind != Self.opaque {
      kind = IDKind(rawValue: call.kind)
      guard kind != nil else { throw Self.unknown("kind", call.kind, Self.kinds) }
    }
    let now = self.clock.wallMilliseconds()
    switch call.layout {
    case "any": return IDDecoder(kind: kind, now: now)
    case "": return IDDecoder(presumed: self.own, kind: kind, now: now)
    default:
      guard let layout = SnowflakeLayout.presets[call.layout] else {
        throw Self.unknown("layout", call.layout, Self.layouts)
      }
      guard kind == nil || kind == .snowflake else {
        throw IDError(.invalidArgument, "a layout is for Snowflake ids: leave out the kind \(call.kind), or the layout")
      }
      return IDDecoder(layout: (name: call.layout, layout: layout), kind: .snowflake, now: now)
    }
  }

  private static func unknown(_ what: String, _ text: String, _ allowed: [String]) -> IDError {
    let shown = String(text.unicodeScalars.prefix(RequestFields.maximumModeTextLength))
    return IDError(.invalidArgument, "unknown \(what) '\(shown)'; allowed: \(allowed.joined(separator: ", "))")
  }
}

extension DecodeIDResponse {
  /// The message of an answer.
  init(_ answer: IDReader.Answer) {
    self.init(
      readings: answer.decoded.readings.map { IDReadingMessage($0) },
      ambiguity: DecodeReport.ambiguity(answer.decoded, answer.opened) ?? "",
      id: answer.opened?.id, slot: answer.opened?.slot.map { Int64($0) }, date: DecodeReport.date(answer.opened) ?? "")
  }
}

extension IDReadingMessage {
  /// The message of a reading.
  init(_ reading: IDReading) {
    self.init()
    self.kind = reading.kind.rawValue
    self.canonical = reading.canonical
    self.digits = reading.base?.rawValue ?? ""
    self.layout = reading.layout ?? ""
    self.time = DecodeReport.time(reading) ?? ""
    self.unixMilliseconds = reading.time?.milliseconds
    self.worker = reading.worker?.number
    self.datacenter = reading.worker?.datacenter
    self.machine = reading.worker?.machine
    self.sequence = reading.sequence
    self.version = reading.version.map { Int64($0) }
    self.variant = reading.variant?.rawValue ?? ""
    self.maker = reading.maker ?? ""
    self.note = reading.note ?? ""
  }
}
