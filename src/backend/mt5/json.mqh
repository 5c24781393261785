// JSON of the venue link: one object a line is read, and what goes into one is written. No input, no output, no clock.
//
// Invariants: nothing is taken that is not JSON; a field that is there twice is a fault; fields and depth are bounded. A value
// that is itself an object or an array is checked and passed over: no command has one.

#define JSON_FIELDS_MAX 32
#define JSON_DEPTH_MAX 8
#define JSON_WHOLE_MAX 9007199254740992

enum JSON_KIND {
    JSON_TEXT,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_NESTED
};

struct JsonField {
    string name;
    string text;
    JSON_KIND kind;
};

struct JsonObject {
    JsonField fields[JSON_FIELDS_MAX];
    int count;
    string fault;
};

// Where a reader is, and what it has found wrong.
struct JsonReader {
    int at;
    int end;
    string fault;
};

// Reads bytes[from] up to but not including bytes[to]; false with a fault where they are not one object.
bool JsonRead(ARRAY_IN(uchar, bytes), const int from, const int to, JsonObject &object) {
    JsonReader reader;
    reader.at = from;
    reader.end = to;
    reader.fault = "";
    object.count = 0;
    object.fault = "";
    JsonMembers(bytes, reader, object);
    JsonBlanks(bytes, reader);
    if(StringLen(reader.fault) == 0 && reader.at != reader.end)
        reader.fault = "not JSON";
    object.fault = reader.fault;
    return StringLen(object.fault) == 0;
}

// The place of a field that is there and not null, or -1.
int JsonFind(const JsonObject &object, const string name) {
    for(int i = 0; i < object.count; i++)
        if(object.fields[i].name == name && object.fields[i].kind != JSON_NULL)
            return i;
    return -1;
}

bool JsonText(const JsonObject &object, const string name, string &value) {
    const int i = JsonFind(object, name);
    if(i < 0 || object.fields[i].kind != JSON_TEXT)
        return false;
    value = object.fields[i].text;
    return true;
}

// A number of digits alone, below 2^53.
bool JsonWhole(const JsonObject &object, const string name, long &value) {
    const int i = JsonFind(object, name);
    if(i < 0 || object.fields[i].kind != JSON_NUMBER || StringLen(object.fields[i].text) > 16)
        return false;
    for(int k = 0; k < StringLen(object.fields[i].text); k++) {
        const int digit = (int)StringGetCharacter(object.fields[i].text, k);
        if(digit < '0' || digit > '9')
            return false;
    }
    value = StringToInteger(object.fields[i].text);
    return value < JSON_WHOLE_MAX;
}

// A number, or a text of one.
bool JsonDecimal(const JsonObject &object, const string name, double &value) {
    const int i = JsonFind(object, name);
    if(i < 0 || (object.fields[i].kind != JSON_NUMBER && object.fields[i].kind != JSON_TEXT))
        return false;
    value = StringToDouble(object.fields[i].text);
    return true;
}

// Whether a field is there and true.
bool JsonFlag(const JsonObject &object, const string name) {
    const int i = JsonFind(object, name);
    return i >= 0 && object.fields[i].kind == JSON_TRUE;
}

// A text as JSON has it. What is written here has no control characters.
string JsonQuoted(const string text) {
    string quoted = text;
    StringReplace(quoted, "\\", "\\\\");
    StringReplace(quoted, "\"", "\\\"");
    return "\"" + quoted + "\"";
}

// A number of at most eight decimals, without zeros at its end: exact for what has no more than fifteen digits.
string JsonNumber(const double value) {
    string text = DoubleToString(value, 8);
    int length = StringLen(text);
    while(StringGetCharacter(text, length - 1) == '0')
        length--;
    if(StringGetCharacter(text, length - 1) == '.')
        length--;
    return StringSubstr(text, 0, length);
}

// `,"name":` and the value.
string JsonTextField(const string name, const string value) {
    return ",\"" + name + "\":" + JsonQuoted(value);
}

string JsonNumberField(const string name, const double value) {
    return ",\"" + name + "\":" + JsonNumber(value);
}

string JsonWholeField(const string name, const long value) {
    return ",\"" + name + "\":" + IntegerToString(value);
}

void JsonMembers(ARRAY_IN(uchar, bytes), JsonReader &reader, JsonObject &object) {
    if(!JsonTake(bytes, reader, '{') || JsonTook(bytes, reader, '}'))
        return;
    while(StringLen(reader.fault) == 0) {
        if(object.count == JSON_FIELDS_MAX) {
            reader.fault = "too many fields";
            return;
        }
        const int i = object.count;
        object.fields[i].name = "";
        object.fields[i].text = "";
        JsonBlanks(bytes, reader);
        JsonString(bytes, reader, object.fields[i].name);
        if(StringLen(reader.fault) > 0 || !JsonTake(bytes, reader, ':'))
            return;
        for(int k = 0; k < i; k++)
            if(object.fields[k].name == object.fields[i].name)
                reader.fault = "a field twice";
        object.fields[i].kind = JsonValue(bytes, reader, object.fields[i].text, 1);
        object.count++;
        if(StringLen(reader.fault) > 0 || JsonTook(bytes, reader, '}'))
            return;
        JsonTake(bytes, reader, ',');
    }
}

JSON_KIND JsonValue(ARRAY_IN(uchar, bytes), JsonReader &reader, string &text, const int depth) {
    JsonBlanks(bytes, reader);
    const int first = JsonPeek(bytes, reader);
    if(first == '"') {
        JsonString(bytes, reader, text);
        return JSON_TEXT;
    }
    if(first == '{' || first == '[') {
        JsonNested(bytes, reader, depth);
        return JSON_NESTED;
    }
    if(first == 't') {
        JsonWord(bytes, reader, "true");
        return JSON_TRUE;
    }
    if(first == 'f') {
        JsonWord(bytes, reader, "false");
        return JSON_FALSE;
    }
    if(first == 'n') {
        JsonWord(bytes, reader, "null");
        return JSON_NULL;
    }
    JsonDigits(bytes, reader, text);
    return JSON_NUMBER;
}

// Checks an object or an array, and passes over it.
void JsonNested(ARRAY_IN(uchar, bytes), JsonReader &reader, const int depth) {
    const bool isObject = JsonPeek(bytes, reader) == '{';
    const uchar closing = (uchar)(isObject ? '}' : ']');
    reader.at++;
    if(depth == JSON_DEPTH_MAX)
        reader.fault = "not JSON";
    if(JsonTook(bytes, reader, closing))
        return;
    while(StringLen(reader.fault) == 0) {
        string text = "";
        if(isObject) {
            JsonBlanks(bytes, reader);
            JsonString(bytes, reader, text);
            JsonTake(bytes, reader, ':');
        }
        if(StringLen(reader.fault) > 0)
            return;
        JsonValue(bytes, reader, text, depth + 1);
        if(StringLen(reader.fault) > 0 || JsonTook(bytes, reader, closing))
            return;
        JsonTake(bytes, reader, ',');
    }
}

void JsonString(ARRAY_IN(uchar, bytes), JsonReader &reader, string &text) {
    ARRAY(uchar, plain);
    int length = 0;
    if(JsonPeek(bytes, reader) != '"') {
        reader.fault = "not JSON";
        return;
    }
    reader.at++;
    while(StringLen(reader.fault) == 0) {
        const int next = JsonPeek(bytes, reader);
        reader.at++;
        if(next == '"') {
            text = CharArrayToString(plain, 0, length, CP_UTF8);
            return;
        }
        if(next < 0x20) {
            reader.fault = "not JSON";
            return;
        }
        int code = next;
        if(next == '\\')
            code = JsonEscape(bytes, reader);
        // The four bytes that UTF-8 needs at most.
        ArrayResize(plain, length + 4, 64);
        if(next == '\\')
            length += JsonUtf8(code, plain, length);
        else {
            plain[length] = (uchar)code;
            length++;
        }
    }
}

// What stands behind a backslash.
int JsonEscape(ARRAY_IN(uchar, bytes), JsonReader &reader) {
    const int name = JsonPeek(bytes, reader);
    reader.at++;
    switch(name) {
        case '"':
        case '\\':
        case '/':
            return name;
        case 'b':
            return 8;
        case 'f':
            return 12;
        case 'n':
            return 10;
        case 'r':
            return 13;
        case 't':
            return 9;
        case 'u':
            break;
        default:
            reader.fault = "not JSON";
            return 0;
    }
    const int high = JsonHex(bytes, reader);
    if(high < 0xD800 || high > 0xDFFF)
        return high;
    int low = 0;
    if(high <= 0xDBFF && JsonPeek(bytes, reader) == '\\') {
        reader.at++;
        if(JsonPeek(bytes, reader) == 'u') {
            reader.at++;
            low = JsonHex(bytes, reader);
        }
    }
    if(low < 0xDC00 || low > 0xDFFF) {
        reader.fault = "not JSON";
        return 0;
    }
    return 0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00);
}

int JsonHex(ARRAY_IN(uchar, bytes), JsonReader &reader) {
    int code = 0;
    for(int i = 0; i < 4; i++) {
        const int digit = JsonPeek(bytes, reader);
        reader.at++;
        if(digit >= '0' && digit <= '9')
            code = code * 16 + digit - '0';
        else if(digit >= 'a' && digit <= 'f')
            code = code * 16 + digit - 'a' + 10;
        else if(digit >= 'A' && digit <= 'F')
            code = code * 16 + digit - 'A' + 10;
        else
            reader.fault = "not JSON";
    }
    return code;
}

// Writes a character; how many bytes it has.
int JsonUtf8(const int code, ARRAY_REF(uchar, plain), const int at) {
    if(code < 0x80) {
        plain[at] = (uchar)code;
        return 1;
    }
    if(code < 0x800) {
        plain[at] = (uchar)(0xC0 | (code >> 6));
        plain[at + 1] = (uchar)(0x80 | (code & 0x3F));
        return 2;
    }
    if(code < 0x10000) {
        plain[at] = (uchar)(0xE0 | (code >> 12));
        plain[at + 1] = (uchar)(0x80 | ((code >> 6) & 0x3F));
        plain[at + 2] = (uchar)(0x80 | (code & 0x3F));
        return 3;
    }
    plain[at] = (uchar)(0xF0 | (code >> 18));
    plain[at + 1] = (uchar)(0x80 | ((code >> 12) & 0x3F));
    plain[at + 2] = (uchar)(0x80 | ((code >> 6) & 0x3F));
    plain[at + 3] = (uchar)(0x80 | (code & 0x3F));
    return 4;
}

void JsonDigits(ARRAY_IN(uchar, bytes), JsonReader &reader, string &text) {
    const int start = reader.at;
    if(JsonPeek(bytes, reader) == '-')
        reader.at++;
    const int first = reader.at;
    const int whole = JsonDigitRun(bytes, reader);
    bool isNumber = whole > 0 && (whole == 1 || bytes[first] != '0');
    if(JsonPeek(bytes, reader) == '.') {
        reader.at++;
        isNumber = isNumber && JsonDigitRun(bytes, reader) > 0;
    }
    const int exponent = JsonPeek(bytes, reader);
    if(exponent == 'e' || exponent == 'E') {
        reader.at++;
        const int sign = JsonPeek(bytes, reader);
        if(sign == '+' || sign == '-')
            reader.at++;
        isNumber = isNumber && JsonDigitRun(bytes, reader) > 0;
    }
    if(isNumber)
        text = CharArrayToString(bytes, start, reader.at - start, CP_UTF8);
    else
        reader.fault = "not JSON";
}

int JsonDigitRun(ARRAY_IN(uchar, bytes), JsonReader &reader) {
    const int start = reader.at;
    while(JsonPeek(bytes, reader) >= '0' && JsonPeek(bytes, reader) <= '9')
        reader.at++;
    return reader.at - start;
}

void JsonWord(ARRAY_IN(uchar, bytes), JsonReader &reader, const string word) {
    for(int i = 0; i < StringLen(word); i++) {
        if(JsonPeek(bytes, reader) != (int)StringGetCharacter(word, i))
            reader.fault = "not JSON";
        reader.at++;
    }
}

// The next byte, or -1 at the end.
int JsonPeek(ARRAY_IN(uchar, bytes), const JsonReader &reader) {
    return reader.at < reader.end ? (int)bytes[reader.at] : -1;
}

void JsonBlanks(ARRAY_IN(uchar, bytes), JsonReader &reader) {
    while(true) {
        const int next = JsonPeek(bytes, reader);
        if(next != ' ' && next != '\t' && next != '\r' && next != '\n')
            return;
        reader.at++;
    }
}

// Whether this byte comes next; if so it is passed.
bool JsonTook(ARRAY_IN(uchar, bytes), JsonReader &reader, const uchar byte) {
    JsonBlanks(bytes, reader);
    if(JsonPeek(bytes, reader) != (int)byte)
        return false;
    reader.at++;
    return true;
}

// This byte has to come next.
bool JsonTake(ARRAY_IN(uchar, bytes), JsonReader &reader, const uchar byte) {
    if(JsonTook(bytes, reader, byte))
        return true;
    reader.fault = "not JSON";
    return false;
}
