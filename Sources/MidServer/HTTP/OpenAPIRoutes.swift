import Hummingbird
import MidCore
import NIOCore

/// `/openapi.json`: what the HTTP port answers, as an OpenAPI 3.1 document with this server's own limits.
struct OpenAPIRoutes: Sendable {
  let document: String

  /// - Parameters:
  ///   - maximumList: The most ids of a list.
  ///   - maximumBatch: The most ids of a batch.
  ///   - maximumTickets: The most tickets of either.
  ///   - forms: Which formats there are.
  init(maximumList: Int, maximumBatch: Int, maximumTickets: Int, forms: TagForms = .none) {
    let list = Self.lists(
      [
        ("snowflake", maximumList, "List"), ("segment", maximumList, "TagList"),
        ("ticket", min(maximumList, maximumTickets), "TagList"),
      ] + TextMode.allCases.map { ($0.rawValue, min(maximumList, Int(TextIDs.maximumBatch)), "TextList") },
      hasForms: forms.formats.contains(.tag) || forms.formats.contains(.opaque))
    let paths = [
      list, Self.named, Self.batch(maximumBatch, min(maximumBatch, maximumTickets)), Self.decode, Self.health,
      Self.leaf, Self.tinyid(atMost: min(Int(TinyidRoutes.maximumBatch), maximumBatch)),
    ]
    let formats = Self.quoted(forms.formats.map(\.description))
    self.document =
      Self.head + paths.joined(separator: ",\n") + "\n" + Self.tail.replacing("FORMATS", with: formats)
  }

  func add(to router: HTTPRouter) {
    // One buffer for all answers: it is not copied.
    let document = ByteBuffer(string: self.document)
    router.route("/openapi.json", [.get, .head]) { _, _ in .json(document) }
  }

  private static let head = """
    {
    "openapi": "3.1.0",
    "info": {
      "title": "mid",
      "version": "\(MidVersion.current)",
      "description": "IDs that never repeat. Numbers of 64 bits are strings in /v1, since JavaScript's have 53 bits.",
      "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    },
    "paths": {

    """

  /// The modes stand as paths of their own: what they allow differs.
  private static func lists(_ modes: [(name: String, maximum: Int, schema: String)], hasForms: Bool) -> String {
    modes.map { mode, maximum, schema in
      let tag =
        switch schema {
        case "TagList": "{\"$ref\": \"#/components/parameters/tag\"}, "
        case "List" where hasForms: "{\"$ref\": \"#/components/parameters/formTag\"}, "
        default: ""
        }
      let format = ", {\"$ref\": \"#/components/parameters/\(schema == "TextList" ? "textFormat" : "format")\"}"
      return """
        "/v1/ids/\(mode)": {"get": {
          "operationId": "\(mode)Ids",
          "summary": "Ids of mode \(mode), listed.",
          "parameters": [\(tag){
            "name": "count", "in": "query", "description": "How many; with a format of long texts fewer, as the failure says.",
            "schema": {"type": "integer", "minimum": 1, "maximum": \(maximum), "default": 1}
          }\(format)],
          "responses": {
            "200": {"description": "The ids.", "content": {"application/json": {
              "schema": {"$ref": "#/components/schemas/\(schema)"}}}},
            \(Self.failures)
          }
        }}
        """
    }.joined(separator: ",\n")
  }

  private static let named = NameMode.allCases.map { mode in
    """
    "/v1/ids/\(mode)": {"get": {
      "operationId": "\(mode)Ids",
      "summary": "The id that a name gives.",
      "parameters": [
        {"name": "namespace", "in": "query", "required": true, "schema": {"anyOf": [
          {"enum": [\(Self.quoted(UUIDValue.namespaces.keys.sorted()))]}, {"type": "string", "format": "uuid"}]}},
        {"name": "name", "in": "query", "required": true, "schema": {"type": "string", "minLength": 1}},
        {"$ref": "#/components/parameters/textFormat"}
      ],
      "responses": {
        "200": {"description": "The id.", "content": {"application/json": {
          "schema": {"$ref": "#/components/schemas/TextList"}}}},
        \(Self.failures)
      }
    }}
    """
  }.joined(separator: ",\n")

  private static func batch(_ maximum: Int, _ maximumTickets: Int) -> String {
    func variant(_ mode: String, _ maximum: Int) -> String {
      let tag = mode == "snowflake" ? "" : "\"tag\": {\"$ref\": \"#/components/schemas/Tag\"}, "
      return """
        {"type": "object", "required": ["mode", "count"], "additionalProperties": false, "properties": {
            "mode": {"const": "\(mode)"}, \(tag)
            "count": {"type": "integer", "minimum": 1, "maximum": \(maximum)}}}
        """
    }
    return """
      "/v1/ids:batch": {"post": {
        "operationId": "batch",
        "summary": "Many ids, as ranges.",
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"oneOf": [
          \(variant("snowflake", maximum)),
          \(variant("segment", maximum)),
          \(variant("ticket", maximumTickets))
        ]}}}},
        "responses": {
          "200": {"description": "The ranges.", "content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/Batch"}}}},
          "413": {"$ref": "#/components/responses/Problem"},
          "415": {"$ref": "#/components/responses/Problem"},
          \(Self.failures)
        }
      }}
      """
  }

  private static let decode = """
    "/v1/decode/{id}": {"get": {
      "operationId": "decode",
      "summary": "What an id says.",
      "parameters": [
        {"name": "id", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1, "maxLength": 512}},
        {"name": "tag", "in": "query", "schema": {"$ref": "#/components/schemas/Tag"},
          "description": "Whose text it is, for tags with opaque ids or a form of their own."},
        {"name": "kind", "in": "query",
          "description": "Read it as this kind only; opaque is the opaque number of an id of the tag.",
          "schema": {"enum": [\(Self.quoted(IDReader.kinds))]}},
        {"name": "layout", "in": "query", "description": "The layout of Snowflake ids; the server's own where it is missing.",
          "schema": {"enum": [\(Self.quoted(IDReader.layouts))]}}
      ],
      "responses": {
        "200": {"description": "The ways to read it.", "content": {"application/json": {
          "schema": {"$ref": "#/components/schemas/Decoded"}}}},
        \(Self.failures)
      }
    }}
    """

  static func quoted(_ names: [String]) -> String { names.map { "\"\($0)\"" }.joined(separator: ", ") }

  private static let failures = [400, 404, 405, 429, 500, 503, 504]
    .map { "\"\($0)\": {\"$ref\": \"#/components/responses/Problem\"}" }.joined(separator: ",\n      ")

  private static let health = """
    "/healthz": {"get": {
      "operationId": "health",
      "summary": "Whether the process serves.",
      "responses": {
        "200": {"description": "It does.", "content": {"application/json": {"schema": {
          "type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}}}},
        "405": {"$ref": "#/components/responses/Problem"}
      }
    }},
    "/readyz": {"get": {
      "operationId": "readiness",
      "summary": "Whether ids can be had here, by mode, and why not.",
      "responses": {
        "200": {"description": "Snowflake and segment ids can be had.", "content": {"application/json": {
          "schema": {"$ref": "#/components/schemas/Readiness"}}}},
        "503": {"description": "They can't.", "content": {"application/json": {
          "schema": {"$ref": "#/components/schemas/Readiness"}}}},
        "405": {"$ref": "#/components/responses/Problem"}
      }
    }},
    "/openapi.json": {"get": {
      "operationId": "document",
      "summary": "This document.",
      "responses": {
        "200": {"description": "It.", "content": {"application/json": {"schema": {"type": "object"}}}},
        "405": {"$ref": "#/components/responses/Problem"}
      }
    }}
    """
}
