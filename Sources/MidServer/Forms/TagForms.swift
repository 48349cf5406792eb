package import MidCore
package import MidOpaque

/// How the ids of each tag go outside: as texts, as opaque numbers, as both.
///
/// Made once at the start; a value that any thread may use.
package struct TagForms: Sendable {
  /// What a text says that was written here.
  package struct Opened: Sendable, Hashable {
    /// The id inside.
    package var id: Int64
    /// The slot of the key that the opaque number was made with; nil where it is none.
    package var slot: Int?
    /// When the day or month in the text begins in UTC, in milliseconds since 1970-01-01T00:00:00Z; nil without one.
    package var startMilliseconds: Int64?
    /// Which other id the text may stand for; nil where there is no doubt.
    package var ambiguity: String?
  }

  /// A tag's own form.
  private struct Own: Sendable {
    var form: TextForm
    var isOpaque: Bool
    var hasDate: Bool { self.form.date != nil }
  }

  /// No tag has a form or opaque numbers.
  package static let none = Self()

  private let own: [Tag: Own]
  private let opaque: [Tag: OpaqueIDs<AES>]
  /// Whether opaque numbers may be made; nil for always. They can be opened either way.
  private var gate: OpaqueGate?
  /// The forms that every tag has.
  private static let plain: Result<[IDFormat: TextForm], IDError> = Result { () throws(IDError) in
    var forms: [IDFormat: TextForm] = [:]
    for format in TextBase.allCases.map({ IDFormat.digits($0) }) + [.checked] {
      forms[format] = try format.form(bits: 63)
    }
    return forms
  }
  private static let decimal: Result<TextForm, IDError> = Result { () throws(IDError) in try TextForm(.decimal) }

  /// Prepares the forms.
  ///
  /// - Parameters:
  ///   - templates: each tag's own form.
  ///   - opaque: the tags whose ids have opaque numbers.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` where a form asks for an opaque number that its tag has not.
  package init(templates: [Tag: TextTemplate] = [:], opaque: [Tag: OpaqueIDs<AES>] = [:]) throws(IDError) {
    var own: [Tag: Own] = [:]
    for (tag, template) in templates {
      if template.isOpaque, opaque[tag] == nil { throw Self.notOpaque(tag) }
      let bits = template.isOpaque ? opaque[tag]?.bits ?? 63 : 63
      own[tag] = Own(form: try template.form(bits: bits), isOpaque: template.isOpaque)
    }
    self.own = own
    self.opaque = opaque
  }

  private init() {
    self.own = [:]
    self.opaque = [:]
  }

  /// The same forms, where opaque numbers are made only as far as `gate` lets them.
  package func guarded(by gate: OpaqueGate) -> TagForms {
    var forms = self
    forms.gate = gate
    return forms
  }

  /// The text of an id.
  ///
  /// - Parameters:
  ///   - id: above 0.
  ///   - milliseconds: when it was made, since 1970-01-01T00:00:00Z; forms with a date show it.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` where the tag has no such form;
  ///   ``MidCore/IDError/Code/exhausted`` where the id is past what an opaque number has room for;
  ///   ``MidCore/IDError/Code/notReady`` where opaque numbers may not be made now.
  package func text(of id: Int64, _ format: IDFormat, tag: Tag, at milliseconds: Int64) throws(IDError) -> String {
    let (form, isOpaque) = try self.form(format, tag)
    return try self.text(of: id, form, isOpaque ? self.opaqueIDs(of: tag) : nil, milliseconds)
  }

  /// The texts of all ids of some ranges, in order.
  ///
  /// - Parameters:
  ///   - made: when an id was made, in milliseconds since 1970-01-01T00:00:00Z.
  ///   - isCancelled: asked now and then whether nobody wants them any more.
  /// - Throws: as ``text(of:_:tag:at:)``; ``MidCore/IDError/Code/deadlineExceeded`` where nobody wants them any more.
  package func texts(
    of ranges: [IDRange], _ format: IDFormat, tag: Tag, made: (Int64) -> Int64, isCancelled: () -> Bool = { false }
  ) throws(IDError) -> [String] {
    let (form, isOpaque) = try self.form(format, tag)
    let opaque = isOpaque ? try self.opaqueIDs(of: tag) : nil
    var texts: [String] = []
    texts.reserveCapacity(Int(ranges.total))
    for range in ranges {
      for index in 0..<range.count {
        if texts.count % 256 == 0, isCancelled() {
          throw IDError(.deadlineExceeded, "the caller gave up")
        }
        let id = range.start + index * range.stride
        texts.append(try self.text(of: id, form, opaque, made(id)))
      }
    }
    return texts
  }

  /// Says what is wrong with a format of a tag's ids, if anything is, before ids are used up for it.
  ///
  /// - Returns: how many characters a text has at most, and the largest id that has one; nil for any id.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` where the tag has no such form,
  ///   ``MidCore/IDError/Code/notReady`` where opaque numbers may not be made now.
  package func bounds(of format: IDFormat, tag: Tag) throws(IDError) -> (length: Int, largestID: Int64?) {
    let (form, isOpaque) = try self.form(format, tag)
    return (form.maximumLength, isOpaque ? try self.opaqueIDs(of: tag).largestID : nil)
  }

  /// The formats that there are for some tag at least.
  package var formats: [IDFormat] {
    TextBase.allCases.map { .digits($0) } + [.checked] + (self.opaque.isEmpty ? [] : [.opaque])
      + (self.own.isEmpty ? [] : [.tag])
  }

  /// Whether texts of the tag can be read back: it has a form of its own, or opaque numbers.
  package func knows(_ tag: Tag) -> Bool { self.own[tag] != nil || self.opaque[tag] != nil }

  /// Reads what was written as the tag's own form, or as the opaque number of an id of the tag.
  ///
  /// The form comes first where a text may be both.
  ///
  /// - Parameter isNumber: whether the text is known to be the opaque number, so that the form is not tried.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument``, saying what is wrong with the text, or that the tag has nothing to
  ///   read it by.
  package func open(_ text: String, tag: Tag, isNumber: Bool = false) throws(IDError) -> Opened {
    guard self.knows(tag) else {
      throw IDError(
        .invalidArgument,
        "tag '\(tag)' has no form of its own and no opaque ids on this node (\(Settings.textForms.key), "
          + "\(Settings.opaqueTags.key)): leave the tag out")
    }
    let opaque = self.opaque[tag]
    let decimal = try Self.decimal.get()
    guard let own = self.own[tag], !isNumber else {
      return try Self.open(text, decimal, try self.opaqueIDs(of: tag))
    }
    var opened: Opened
    do throws(IDError) {
      opened = try Self.open(text, own.form, own.isOpaque ? opaque : nil)
    } catch {
      guard let opaque else {
        throw IDError(
          .invalidArgument,
          "\(error.message); an id in the digits of a base, as format decimal, is read without the tag")
      }
      return try Self.open(text, decimal, opaque, notOwn: error)
    }
    if let opaque {
      let other: Opened
      do throws(IDError) { other = try Self.open(text, decimal, opaque) } catch { return opened }
      if other.id != opened.id || other.slot != opened.slot {
        opened.ambiguity = "the text may be the tag's opaque number of the id \(other.id): the kind opaque reads it so"
      }
    }
    return opened
  }

  /// Reads a text by a form, whose number is the opaque one where `opaque` is not nil.
  private static func open(_ text: String, _ form: TextForm, _ opaque: OpaqueIDs<AES>?) throws(IDError) -> Opened {
    let parsed = try form.parse(text)
    let number = Int64(parsed.number)
    guard let opaque else { return Opened(id: number, startMilliseconds: parsed.startMilliseconds) }
    let (id, slot) = try opaque.open(number)
    return Opened(id: id, slot: slot, startMilliseconds: parsed.startMilliseconds)
  }

  /// Reads a text that is none of the tag's form, for a reason, as an opaque number.
  private static func open(
    _ text: String, _ decimal: TextForm, _ opaque: OpaqueIDs<AES>, notOwn reason: IDError
  ) throws(IDError) -> Opened {
    guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { throw reason }
    do throws(IDError) { return try Self.open(text, decimal, opaque) } catch {
      throw IDError(.invalidArgument, "by the tag's form \(reason.message); as an opaque number \(error.message)")
    }
  }

  private func text(
    of id: Int64, _ form: TextForm, _ opaque: OpaqueIDs<AES>?, _ milliseconds: Int64
  ) throws(IDError) -> String {
    try form.text(of: UInt128(try opaque?.seal(id) ?? id), at: milliseconds)
  }

  private func form(_ format: IDFormat, _ tag: Tag) throws(IDError) -> (TextForm, isOpaque: Bool) {
    switch format {
    case .tag:
      guard let own = self.own[tag] else {
        throw IDError(
          .invalidArgument, "tag '\(tag)' has no form of its own on this node (\(Settings.textForms.key))")
      }
      if own.isOpaque { try self.gate?.check(tag) }
      return (own.form, own.isOpaque)
    case .opaque:
      _ = try self.opaqueIDs(of: tag)
      try self.gate?.check(tag)
      return (try Self.decimal.get(), true)
    case .digits, .checked:
      let (plain, decimal) = (try Self.plain.get(), try Self.decimal.get())
      return (plain[format] ?? decimal, false)
    }
  }

  private func opaqueIDs(of tag: Tag) throws(IDError) -> OpaqueIDs<AES> {
    guard let ids = self.opaque[tag] else { throw Self.notOpaque(tag) }
    return ids
  }

  private static func notOpaque(_ tag: Tag) -> IDError {
    IDError(.invalidArgument, "ids of tag '\(tag)' have no opaque numbers on this node (\(Settings.opaqueTags.key))")
  }
}
