import MidCore

extension OpenAPIRoutes {
  /// Leaf's paths. They take any method; the document names the one that clients use.
  static let leaf = """
    \(Self.leafIDs("segment", "The next id of the tag.")),
    \(Self.leafIDs("snowflake", "The next Snowflake id, whatever the key.")),
    "/decodeSnowflakeId": {"get": {
      "operationId": "leafDecode", "tags": ["Leaf"],
      "summary": "What a Snowflake id of this server's layout holds.",
      "parameters": [{"name": "snowflakeId", "in": "query", "required": true, "schema": {"type": "string"}}],
      "responses": {
        "200": {"description": "Its parts, or why there are none.", "content": {"application/json": {"schema": {
          "type": "object", "additionalProperties": {"type": "string"}}}}},
        "400": {"description": "No snowflakeId.", "content": {
          "application/json": {"schema": {"$ref": "#/components/schemas/LeafFailure"}},
          "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "405": {"$ref": "#/components/responses/Problem"}
      }
    }},
    "/cache": {"get": {
      "operationId": "leafCache", "tags": ["Leaf"], "summary": "The monitor page of what is cached.",
      "responses": {
        "200": {"description": "A page.", "content": {"text/html": {"schema": {"type": "string"}}}},
        "405": {"$ref": "#/components/responses/Problem"}
      }
    }},
    "/db": {"get": {
      "operationId": "leafTable", "tags": ["Leaf"], "summary": "The monitor page of the table's rows.",
      "responses": {
        "200": {"description": "A page.", "content": {"text/html": {"schema": {"type": "string"}}}},
        "405": {"$ref": "#/components/responses/Problem"}
      }
    }}
    """

  private static func leafIDs(_ mode: String, _ summary: String) -> String {
    """
    "/api/\(mode)/get/{key}": {"get": {
      "operationId": "leaf\(mode.prefix(1).uppercased() + mode.dropFirst())", "tags": ["Leaf"],
      "summary": "\(summary)",
      "parameters": [{"name": "key", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}],
      "responses": {
        "200": {"description": "The id alone.", "content": {"text/plain": {
          "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"}}}},
        "404": {"$ref": "#/components/responses/Problem"},
        "405": {"$ref": "#/components/responses/Problem"},
        "500": {"description": "No id; the message says why, by Leaf's numbers.", "content": {"application/json": {
          "schema": {"$ref": "#/components/schemas/LeafFailure"}}}}
      }
    }}
    """
  }

  /// Tinyid's paths. They take any method, and their fields in a form too.
  ///
  /// - Parameter most: The most ids of one call.
  static func tinyid(atMost most: Int) -> String {
    [
      Self.tinyidPath(
        "nextId", "Ids of a tag.", atMost: most,
        "{\"anyOf\": [{\"type\": \"null\"}, {\"type\": \"array\", \"items\": {\"type\": \"integer\"}}]}"),
      Self.tinyidPath(
        "nextIdSimple", "Ids of a tag, separated by commas; nothing where there are none.", atMost: most),
      Self.tinyidPath(
        "nextSegmentId", "A segment whose ids the client hands out.",
        "{\"anyOf\": [{\"type\": \"null\"}, {\"$ref\": \"#/components/schemas/TinyidSegment\"}]}"),
      Self.tinyidPath("nextSegmentIdSimple", "The same: currentId, loadingId, maxId, delta, remainder."),
    ].joined(separator: ",\n")
  }

  private static func tinyidPath(
    _ name: String, _ summary: String, atMost most: Int? = nil, _ data: String? = nil
  ) -> String {
    let count =
      most.map { most in
        """
        ,
            {"name": "batchSize", "in": "query", "description": "How many; more than \(most) is \(most).",
              "schema": {"type": "integer", "minimum": -2147483648, "maximum": 2147483647, "default": 1}}
        """
      } ?? ""
    let content =
      data.map {
        """
        "application/json": {"schema": {"type": "object", "required": ["data", "code", "message"], "properties": {
              "data": \($0), "code": {"enum": [200, 5, 6]}, "message": {"type": "string"}}}}
        """
      } ?? "\"text/plain\": {\"schema\": {\"type\": \"string\"}}"
    return """
      "/tinyid/id/\(name)": {"get": {
        "operationId": "tinyid\(name.prefix(1).uppercased() + name.dropFirst())", "tags": ["Tinyid"],
        "summary": "\(summary)",
        "parameters": [
          {"name": "bizType", "in": "query", "required": true, "schema": {"type": "string"}},
          {"name": "token", "in": "query", "schema": {"type": "string"}}\(count)
        ],
        "responses": {
          "200": {"description": "The answer, failures too.", "content": {\(content)}},
          "400": {"$ref": "#/components/responses/Problem"},
          "405": {"$ref": "#/components/responses/Problem"}
        }
      }}
      """
  }

  /// What the paths refer to.
  static let tail = """
    },
    "components": {
      "parameters": {
        "tag": {
          "name": "tag", "in": "query", "schema": {"$ref": "#/components/schemas/Tag"},
          "description": "Whose ids; default where it is missing."
        },
        "formTag": {
          "name": "tag", "in": "query", "schema": {"$ref": "#/components/schemas/Tag"},
          "description": "Whose form it is, with the formats tag and opaque; an error without."
        },
        "format": {
          "name": "format", "in": "query", "schema": {"enum": [FORMATS]},
          "description": "Asks for texts, too; at most \(TextIDs.maximumBatch) ids then."
        },
        "textFormat": {
          "name": "format", "in": "query",
          "schema": {"enum": [\(Self.quoted(TagForms.none.formats.map(\.description)))]},
          "description": "Asks for other digits than the kind's own."
        }
      },
      "responses": {
        "Problem": {"description": "What is wrong, RFC 9457.", "content": {"application/problem+json": {
          "schema": {"$ref": "#/components/schemas/Problem"}}}}
      },
      "schemas": {
        "Id": {"type": "string", "pattern": "^[1-9][0-9]{0,18}$", "description": "A number of 63 bits."},
        "Tag": {
          "type": "string", "pattern": "^[!-~]([ -~]{0,126}[!-~])?$", "examples": ["default"],
          "description": "A tag's name. Other UTF-8 of up to 128 bytes can be one too."
        },
        "List": {
          "type": "object", "required": ["mode", "ids"], "additionalProperties": false, "properties": {
            "mode": {"const": "snowflake"},
            "ids": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Id"}},
            "texts": {"$ref": "#/components/schemas/Texts"}}
        },
        "TagList": {
          "type": "object", "required": ["mode", "tag", "ids"], "additionalProperties": false, "properties": {
            "mode": {"enum": ["segment", "ticket"]}, "tag": {"type": "string"},
            "ids": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Id"}},
            "texts": {"$ref": "#/components/schemas/Texts"}}
        },
        "Texts": {
          "type": "array", "minItems": 1, "items": {"type": "string"},
          "description": "One for each id, where a format was asked for."
        },
        "Decoded": {
          "type": "object", "required": ["readings", "ambiguity"], "additionalProperties": false, "properties": {
            "id": {"$ref": "#/components/schemas/Number"}, "slot": {"type": "integer", "minimum": 0, "maximum": 15},
            "date": {"type": "string", "format": "date-time"},
            "readings": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Reading"}},
            "ambiguity": {"type": ["string", "null"]}}
        },
        "Number": {"type": "string", "pattern": "^(0|-?[1-9][0-9]{0,18})$"},
        "Reading": {
          "type": "object", "required": ["kind", "canonical"], "additionalProperties": false, "properties": {
            "kind": {"enum": [\(Self.quoted(IDKind.allCases.map(\.rawValue)))]}, "canonical": {"type": "string"},
            "digits": {"enum": [\(Self.quoted(TextBase.allCases.map(\.rawValue)))]},
            "layout": {"enum": [\(Self.quoted(SnowflakeLayout.presets.keys.sorted()))]},
            "variant": {"type": "string"}, "version": {"type": "integer"},
            "time": {"type": "string", "format": "date-time",
              "description": "When it was made; missing past the year 9999, which has no such text."},
            "unix_ms": {"$ref": "#/components/schemas/Number"},
            "worker": {"type": "integer"}, "datacenter": {"type": "integer"}, "machine": {"type": "integer"},
            "sequence": {"type": "integer"}, "counter": {"type": "integer"},
            "node": {"type": "string"}, "process": {"type": "string"}, "note": {"type": "string"}}
        },
        "TextList": {
          "type": "object", "required": ["mode", "ids"], "additionalProperties": false, "properties": {
            "mode": {"enum": [\(Self.quoted(TextMode.allCases.map(\.rawValue) + NameMode.allCases.map(\.rawValue)))]},
            "ids": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[0-9A-Za-z*~$=-]{15,39}$"}}}
        },
        "Batch": {
          "type": "object", "required": ["mode", "count", "ranges"], "additionalProperties": false, "properties": {
            "mode": {"enum": ["snowflake", "segment", "ticket"]}, "tag": {"type": "string"},
            "count": {"type": "integer", "minimum": 1},
            "ranges": {"type": "array", "minItems": 1, "items": {
              "type": "object", "required": ["start", "stride", "count"], "additionalProperties": false,
              "properties": {
                "start": {"$ref": "#/components/schemas/Id"}, "stride": {"$ref": "#/components/schemas/Id"},
                "count": {"type": "integer", "minimum": 1}}}}}
        },
        "Readiness": {
          "type": "object", "required": ["ready", "modes"], "properties": {
            "ready": {"type": "boolean"},
            "modes": {"type": "object", "additionalProperties": {
              "type": "object", "required": ["ready", "reasons"], "properties": {
                "ready": {"type": "boolean"}, "reasons": {"type": "array", "items": {"type": "string"}}}}}}
        },
        "Problem": {
          "type": "object", "required": ["type", "title", "status", "code", "detail"], "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "code": {"type": "string"}, "detail": {"type": "string"}}
        },
        "LeafFailure": {
          "type": "object", "required": ["timestamp", "status", "error", "message", "path"], "properties": {
            "timestamp": {"type": "integer"}, "status": {"type": "integer"}, "error": {"type": "string"},
            "message": {"type": "string"}, "path": {"type": "string"}}
        },
        "TinyidSegment": {
          "type": "object", "required": ["currentId", "loadingId", "maxId", "delta", "remainder"],
          "additionalProperties": {"type": "integer"}
        }
      }
    }
    }

    """
}
